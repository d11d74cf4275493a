/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/armed.h"
#include "cli/watching.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/signals.h"

#define EXITS_SETTLE_MS 5000

bool watching_takes_cores(const struct watching *w)
{
	for (size_t i = 0; i < w->rules.n; i++)
		if (rule_captures(&w->rules.v[i]) &&
			(w->rules.v[i].fatal_signals & signals_core_mask()))
			return true;
	return false;
}

bool watching_captures(const struct watching *w)
{
	for (size_t i = 0; i < w->rules.n; i++)
		if (rule_captures(&w->rules.v[i]))
			return true;
	return false;
}

static int fail(const char *what, int error)
{
	log_error("event=arm what=%s error=\"%s\"", what, strerror(-error));
	return error;
}

static int open_probe(struct watching *w)
{
	bool all = rule_set_has_all(&w->rules), pids_only = rule_set_is_pids_only(&w->rules);
	/* Where every process matches, which ones there are is of interest to the sampler, and for
	 * exits, of which the kernel side does not tell enough. */
	bool finds = !all || rule_set_sampling(&w->rules) || rule_set_exiting(&w->rules) ||
		     rule_set_serving(&w->rules) || rule_set_entering(&w->rules) ||
		     rule_set_stalling(&w->rules);
	struct probe_options options = {
		.fatal_mask = rule_set_fatal_signals(&w->rules),
		.first_chance_mask = rule_set_first_chance(&w->rules),
		.watch_unmarked = !pids_only,
		.report_exec = !pids_only && finds,
	};
	int r = probe_open(&options, &w->probe);

	if (r < 0)
		return fail("bpf (coretrap doctor says more)", r);
	w->targets = (struct targets){.rules = &w->rules, .probe = w->probe};
	r = finds ? targets_find(&w->targets) : 0;
	return r < 0 ? fail("targets", r) : 0;
}

/* The store's bounds hold from the beginning: what an earlier run left may be too much. */
static int open_janitor(struct watching *w)
{
	const struct host_limits *limits = w->options->limits;
	int r;

	if (!limits || w->output.form != OUTPUT_STORE)
		return 0;
	r = retention_of(limits, &w->output.store, &w->janitor.keep);
	if (r < 0)
		return fail("store", r);
	w->janitor.store = &w->output.store;
	w->janitor.again = true;
	return 0;
}

static int open_capture(struct watching *w)
{
	char why[REGISTRY_WHY_MAX] = "";
	int r;

	r = broker_open(&w->broker);
	if (r < 0)
		return fail("socket", r);
	if (!watching_captures(w))
		return 0;
	r = destination_open(&w->rules.v[0].what, &w->output);
	if (r == 0)
		r = open_janitor(w);
	if (r < 0 || !watching_takes_cores(w))
		return r;
	r = registry_join_host(&w->registry, why);
	if (r < 0)
		log_error("event=arm what=core_pattern error=\"%s\"", why[0] ? why : strerror(-r));
	return r;
}

static int open_thresholds(struct watching *w)
{
	int r;

	if (!rule_set_sampling(&w->rules))
		return 0;
	r = thresholds_open(&w->rules, w->ledger, &w->thresholds);
	for (const struct target *t = w->targets.head; r == 0 && t; t = t->next)
		r = thresholds_watch(w->thresholds, t);
	return r < 0 ? fail("sampler (coretrap doctor says more)", r) : 0;
}

static int open_in_flight(struct watching *w)
{
	int r;

	if (!rule_set_serving(&w->rules))
		return 0;
	r = in_flight_open(&w->targets, &w->in_flight);
	if (r == -EOPNOTSUPP) {
		log_error("event=arm what=requests error=\"this kernel keeps no state with a "
			  "socket: Linux 5.12 is needed, coretrap doctor says more\"");
		return r;
	}
	for (const struct target *t = w->targets.head; r == 0 && t; t = t->next)
		r = in_flight_watch(w->in_flight, t);
	return r < 0 ? fail("requests (coretrap doctor says more)", r) : 0;
}

/* Of the processes that a rule names by their ids: what they do not have is refused at once. */
static int open_inside(struct watching *w)
{
	struct inside_note note;
	int r;

	if (!rule_set_entering(&w->rules))
		return 0;
	r = inside_open(&w->targets, &w->inside);
	/* A command is held before its exec: it has none of its files yet. */
	for (const struct target *t = w->targets.head; r == 0 && t && !w->options->command;
		t = t->next)
		r = inside_watch(w->inside, t);
	if (r < 0)
		return fail("functions (coretrap doctor says more)", r);
	while (inside_next_note(w->inside, &note)) {
		if (!note.refused || !who_is_pids_only(&w->rules.v[note.rule].who)) {
			watching_say_note(w, &note);
			continue;
		}
		log_error("event=arm what=function pid=%d function=\"%s\" error=\"%s\"", note.pid,
			note.function, note.detail);
		r = -EBADMSG;
	}
	return r;
}

static int open_stalls(struct watching *w)
{
	int r;

	if (!rule_set_stalling(&w->rules))
		return 0;
	r = stalls_open(&w->targets, &w->stalls);
	for (const struct target *t = w->targets.head; r == 0 && t; t = t->next)
		r = stalls_watch(w->stalls, t);
	return r < 0 ? fail("stall", r) : 0;
}

static int watch_fd(const struct watching *w, int fd)
{
	struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(w->epollfd, EPOLL_CTL_ADD, fd, &interest) < 0 ? -errno : 0;
}

/* Before anything is changed on the host: from here on a signal ends the loop, which puts
 * everything back. */
static int open_signals(struct watching *w)
{
	static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(handled); i++)
		sigaddset(&set, handled[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	w->signalfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return w->signalfd < 0 ? -errno : 0;
}

static int open_stages(struct watching *w)
{
	const struct trip_context context = {
		.rules = &w->rules,
		.ledger = w->ledger,
		.feed = &w->feed,
		.followups = w->followups,
		.output = &w->output,
	};
	uint64_t at_once = w->options->limits ? w->options->limits->live_at_once : 1;
	int r = exits_new(&context, &w->exits);

	r = r < 0 ? r : deaths_new(&context, w->broker, &w->deaths);
	return r < 0 ? r : lives_new(&context, w->exits, at_once, &w->lives);
}

static int open_loop(struct watching *w)
{
	int r = followups_new(&w->feed, &w->followups);

	r = r < 0 ? r : open_stages(w);
	if (r < 0)
		return r;
	w->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epollfd < 0)
		return -errno;
	r = watch_fd(w, w->signalfd);
	r = r < 0 ? r : watch_fd(w, probe_fd(w->probe));
	r = r < 0 ? r : watch_fd(w, deaths_fd(w->deaths));
	r = r < 0 ? r : watch_fd(w, lives_fd(w->lives));
	r = r < 0 ? r : watch_fd(w, exits_fd(w->exits));
	r = r < 0 ? r : watch_fd(w, followups_fd(w->followups));
	if (w->thresholds)
		r = r < 0 ? r : watch_fd(w, thresholds_fd(w->thresholds));
	if (w->in_flight)
		r = r < 0 ? r : watch_fd(w, in_flight_fd(w->in_flight));
	if (w->inside)
		r = r < 0 ? r : watch_fd(w, inside_fd(w->inside));
	if (w->stalls)
		r = r < 0 ? r : watch_fd(w, stalls_fd(w->stalls));
	return r < 0 ? r : watch_fd(w, broker_fd(w->broker));
}

/* The command is there, held before its exec, so that it can be found and marked like any other
 * process. */
static int open_command(struct watching *w)
{
	int r;

	if (!w->options->command)
		return 0;
	r = launch_prepare(w->options->command, &w->launch);
	if (r < 0)
		return fail("command", r);
	w->command_rule = w->rules.v[0];
	w->command_who.tree = w->command_rule.who.tree;
	r = who_add_process(&w->command_who, w->launch.pid);
	if (r < 0)
		return fail("command", r);
	w->command_rule.who = w->command_who;
	w->rules = (struct rule_set){.v = &w->command_rule, .n = 1};
	return 0;
}

int watching_arm(struct watching *w, const struct monitor_options *options)
{
	int r;

	w->options = options;
	w->rules = options->rules;
	w->ledger = options->ledger;
	w->feed = options->feed;
	if (geteuid() != 0) {
		log_error("event=arm error=\"must be run as root\"");
		return -EPERM;
	}
	r = relay_open(fileno(w->feed.out), &w->feed.relay); /* first: it inherits what is open */
	r = r < 0 ? fail("feed", r) : open_command(w);
	r = r < 0 ? r
		  : open_signals(w); /* behind the command, which must not inherit them blocked */
	r = r < 0 ? r : open_probe(w);
	r = r < 0 ? r : open_capture(w);
	r = r < 0 ? r : open_thresholds(w);
	r = r < 0 ? r : open_in_flight(w);
	r = r < 0 ? r : open_inside(w);
	r = r < 0 ? r : open_stalls(w);
	r = r < 0 ? r : open_loop(w);
	if (r < 0)
		return r;
	for (const struct target *t = w->targets.head; t; t = t->next)
		exits_watch(w->exits, t);
	exits_settle(w->exits, EXITS_SETTLE_MS);
	for (size_t i = 0; i < w->rules.n && r == 0; i++)
		r = ledger_arm(
			w->ledger, w->rules.v[i].name, (int64_t)clock_now_ns(CLOCK_BOOTTIME));
	if (r < 0)
		return fail("ledger", r);
	for (size_t i = 0; i < w->rules.n; i++)
		feed_say(&w->feed,
			armed_event(&w->rules.v[i], 1ULL << i, &w->targets, w->inside, &w->output));
	return launch_release(&w->launch);
}

void watching_disarm(struct watching *w)
{
	/* First of all, so that whatever fails below leaves the host as it was. */
	int r = w->registry ? registry_leave(&w->registry) : 0;

	if (r < 0)
		log_error("event=restore what=core_pattern error=\"%s\"", strerror(-r));
	janitor_dismiss(&w->janitor);
	lives_free(w->lives);
	exits_free(w->exits);
	followups_free(w->followups);
	deaths_free(w->deaths);
	thresholds_close(w->thresholds);
	in_flight_close(w->in_flight);
	stalls_close(w->stalls);
	inside_close(w->inside);
	targets_free(&w->targets);
	broker_close(&w->broker);
	probe_close(w->probe);
	destination_close(&w->output);
	launch_close(&w->launch);
	who_free(&w->command_who);
	cleanup_close(&w->epollfd);
	cleanup_close(&w->signalfd);
	relay_close(w->feed.relay);
}
