/* SPDX-License-Identifier: MIT */
#include "cli/monitor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/broker.h"
#include "capture/registry.h"
#include "cli/armed.h"
#include "cli/commands.h"
#include "cli/deaths.h"
#include "cli/launch.h"
#include "cli/losses.h"
#include "cli/destination.h"
#include "cli/targets.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/signals.h"
#include "probe/probe.h"
#include "sink/incident.h"

#define TICK_NS \
	(100 * NSEC_PER_MSEC) /* losses, the pattern's owner, time limits of what is pending */
#define CHECK_NS (1 * NSEC_PER_SEC)
#define LINGER_NS                                                                               \
	(10 * NSEC_PER_SEC) /* for captures under way when told to end; a second signal ends at \
			       once */
#define EVENTS_BATCH 256    /* events handled before the other sources get their turn */

struct monitor {
	const struct monitor_options *options;
	const struct rule *rule;
	struct rule_state state;
	struct who command_who; /* what is watched when a command was started */
	struct rule command_rule;
	struct destination output;
	struct probe *probe;
	struct broker *broker;
	struct registry *registry;
	struct targets targets;
	struct deaths *deaths;
	struct launch launch;
	struct feed feed;
	int epollfd, signalfd;
	uint64_t end_ns, next_check_ns; /* CLOCK_MONOTONIC; 0: none */
	int interrupts;
};

static bool captures_core(const struct rule *rule)
{
	return !rule->observe && rule->what.kind != CORE_NONE &&
	       (rule->fatal_signals & signals_core_mask());
}

/* ---- arming ---- */

static int fail(const char *what, int error)
{
	log_error("event=arm what=%s error=\"%s\"", what, strerror(-error));
	return error;
}

static int open_probe(struct monitor *m)
{
	const struct who *who = &m->rule->who;
	struct probe_options options = {
		.fatal_mask = m->rule->fatal_signals,
		.first_chance_mask = m->rule->first_chance,
		.watch_unmarked = !who_is_pids_only(who),
		.report_exec = !who_is_pids_only(who) && !who->all,
	};
	int r = probe_open(&options, &m->probe);

	if (r < 0)
		return fail("bpf (coretrap doctor says more)", r);
	m->targets = (struct targets){.who = who, .probe = m->probe};
	r = who->all ? 0 : targets_find(&m->targets);
	return r < 0 ? fail("targets", r) : 0;
}

static int open_capture(struct monitor *m)
{
	char why[REGISTRY_WHY_MAX] = "";
	int r;

	if (!captures_core(m->rule))
		return 0;
	r = destination_open(&m->rule->what, &m->output);
	if (r < 0)
		return r;
	r = broker_open(&m->broker);
	if (r < 0)
		return fail("socket", r);
	r = registry_join_host(&m->registry, why);
	if (r < 0)
		log_error("event=arm what=core_pattern error=\"%s\"", why[0] ? why : strerror(-r));
	return r;
}

static int watch_fd(const struct monitor *m, int fd)
{
	struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(m->epollfd, EPOLL_CTL_ADD, fd, &interest) < 0 ? -errno : 0;
}

/* Before anything is changed on the host: from here on a signal ends the loop, which puts
 * everything back. */
static int open_signals(struct monitor *m)
{
	static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(handled); i++)
		sigaddset(&set, handled[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	m->signalfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return m->signalfd < 0 ? -errno : 0;
}

static int open_loop(struct monitor *m)
{
	struct deaths_context context = {
		.rule = m->rule,
		.state = &m->state,
		.feed = &m->feed,
		.broker = m->broker,
		.output = &m->output,
	};
	int r = deaths_new(&context, &m->deaths);

	if (r < 0)
		return r;
	m->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (m->epollfd < 0)
		return -errno;
	r = watch_fd(m, m->signalfd);
	r = r < 0 ? r : watch_fd(m, probe_fd(m->probe));
	r = r < 0 ? r : watch_fd(m, deaths_fd(m->deaths));
	return r < 0 || !m->broker ? r : watch_fd(m, broker_fd(m->broker));
}

/* The command is there, held before its exec, so that it can be found and marked like any other
 * process. */
static int open_command(struct monitor *m)
{
	int r;

	m->rule = m->options->rule;
	if (!m->options->command)
		return 0;
	r = launch_prepare(m->options->command, &m->launch);
	if (r < 0)
		return fail("command", r);
	m->command_rule = *m->options->rule;
	m->command_who.tree = m->command_rule.who.tree;
	r = who_add_process(&m->command_who, m->launch.pid);
	if (r < 0)
		return fail("command", r);
	m->command_rule.who = m->command_who;
	m->rule = &m->command_rule;
	return 0;
}

static int arm(struct monitor *m)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	int r;

	if (geteuid() != 0) {
		log_error("event=arm error=\"must be run as root\"");
		return -EPERM;
	}
	r = relay_open(fileno(m->feed.out), &m->feed.relay); /* first: it inherits what is open */
	r = r < 0 ? fail("feed", r) : open_command(m);
	r = r < 0 ? r
		  : open_signals(m); /* behind the command, which must not inherit them blocked */
	r = r < 0 ? r : open_probe(m);
	r = r < 0 ? r : open_capture(m);
	r = r < 0 ? r : open_loop(m);
	if (r < 0)
		return r;
	m->end_ns = m->options->duration_ns ? now + m->options->duration_ns : 0;
	m->next_check_ns = now + CHECK_NS;
	feed_say(&m->feed, armed_event(m->rule, &m->targets, &m->output));
	return launch_release(&m->launch);
}

static void disarm(struct monitor *m)
{
	/* First of all, so that whatever fails below leaves the host as it was. */
	int r = m->registry ? registry_leave(&m->registry) : 0;

	if (r < 0)
		log_error("event=restore what=core_pattern error=\"%s\"", strerror(-r));
	deaths_free(m->deaths);
	targets_free(&m->targets);
	broker_close(&m->broker);
	probe_close(m->probe);
	destination_close(&m->output);
	launch_close(&m->launch);
	who_free(&m->command_who);
	cleanup_close(&m->epollfd);
	cleanup_close(&m->signalfd);
	relay_close(m->feed.relay);
}

/* ---- events ---- */

static void say_target(const struct monitor *m, const struct identity *id)
{
	json_t *event = incident_new("target", clock_now_ns(CLOCK_REALTIME));

	if (event)
		json_put(event, "process", incident_process(id));
	feed_say(&m->feed, event);
}

/* A new image, or a new child of the tree: a target from now on, or no longer. */
static void take_birth(struct monitor *m, const struct event *e)
{
	const struct event_process *p = &e->process;
	bool was_target = targets_get(&m->targets, p->pid, p->start_ticks) != NULL;
	_cleanup_identity_ struct identity id = {};
	const struct target *target;

	if (targets_identify(&m->targets, e, &id) < 0)
		return;
	targets_remove(
		&m->targets, p->pid, p->start_ticks); /* its name and arguments are others now */
	if (!targets_judge(&m->targets, e, &id) || targets_add(&m->targets, &id, &target) < 0)
		return;
	if (!was_target || !who_is_pids_only(&m->rule->who))
		say_target(m, &target->identity);
}

static void take_signal(struct monitor *m, struct event *e)
{
	_cleanup_event_ struct event *event = e;
	_cleanup_identity_ struct identity id = {};
	int r;

	if (e->kind == EVENT_DEATH &&
		deaths_knows(m->deaths, e->process.pid, e->process.start_ticks))
		return;
	if (targets_identify(&m->targets, e, &id) < 0 || !targets_judge(&m->targets, e, &id) ||
		!rule_trips(m->rule, e))
		return;
	r = deaths_begin(m->deaths, e, &id);
	if (r == 0)
		TAKE_PTR(event);
	else
		log_error("event=trip pid=%d errno=%d", e->process.pid, -r);
}

static void take_exit(struct monitor *m, const struct event *e)
{
	const struct event_process *p = &e->process;
	const struct target *target = targets_get(&m->targets, p->pid, p->start_ticks);
	bool known = deaths_knows(m->deaths, p->pid, p->start_ticks);

	deaths_ended(m->deaths, p->pid, p->start_ticks, e->exit_code);
	if (target && !known)
		feed_say(&m->feed, incident_exit(&target->identity, e->exit_code, e->time_ns));
	targets_remove(&m->targets, p->pid, p->start_ticks);
}

static void take_event(struct monitor *m, struct event *e)
{
	switch (e->kind) {
	case EVENT_DEATH:
	case EVENT_FIRST_CHANCE:
		take_signal(m, e);
		return;
	case EVENT_EXEC:
	case EVENT_FORK:
		take_birth(m, e);
		break;
	case EVENT_EXIT:
		take_exit(m, e);
		break;
	}
	event_free(e);
}

/* Returns whether there may be more. */
static bool read_events(struct monitor *m)
{
	struct event *e;

	for (int i = 0; i < EVENTS_BATCH; i++) {
		if (probe_next(m->probe, &e) != 1)
			return false;
		take_event(m, e);
	}
	return true;
}

/* ---- handlers ---- */

/* A core that the kernel side did not announce (lost, or a kernel that shows it later): the
 * handler's word is enough. */
static struct event *event_from_question(const struct broker_question *q)
{
	struct event *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->kind = EVENT_DEATH;
	e->time_ns = clock_now_ns(CLOCK_REALTIME);
	e->process.pid = q->pid;
	e->process.tid = q->tid;
	e->process.start_ticks = q->start_ticks;
	e->process.start_ns = q->start_ticks * 10000000;
	e->process.uid = q->uid;
	memcpy(e->process.comm, q->comm, sizeof(e->process.comm));
	e->signal.number = q->signal;
	e->signal.dumps_core = true;
	e->signal.core_soft = q->core_limit;
	return e;
}

static void take_question(struct monitor *m, const struct broker_message *message)
{
	const struct broker_question *q = &message->question;
	const struct decision no = {};

	/* The record was written before the kernel started the handler: it is there to be read. */
	while (!deaths_knows(m->deaths, q->pid, q->start_ticks) && read_events(m))
		;
	if (!deaths_knows(m->deaths, q->pid, q->start_ticks)) {
		struct event *e = event_from_question(q);

		if (e)
			take_signal(m, e);
	}
	if (deaths_knows(m->deaths, q->pid, q->start_ticks))
		deaths_asked(m->deaths, q->pid, q->start_ticks, message->conversation);
	else
		broker_answer(m->broker, message->conversation, &no, NULL, -1);
}

static void read_broker(struct monitor *m)
{
	for (;;) {
		_cleanup_broker_message_ struct broker_message message = {};
		int r = broker_receive(m->broker, &message);

		if (r < 0)
			log_error("event=broker errno=%d", -r);
		if (r != 1)
			return;
		if (message.kind == BROKER_ASK)
			take_question(m, &message);
		else
			deaths_finished(m->deaths, message.conversation,
				message.kind == BROKER_DONE ? message.result : NULL);
	}
}

/* ---- the loop ---- */

static void check(struct monitor *m)
{
	/* An end that was lost, or missed while arming, would be waited for. */
	if (losses_say(&m->feed, m->probe, &m->targets) || who_is_pids_only(&m->rule->who))
		targets_sweep(&m->targets);
	deaths_sweep(m->deaths);
	if (m->registry)
		losses_say_pattern(&m->feed, m->registry);
}

static void read_signals(struct monitor *m)
{
	struct signalfd_siginfo info;

	while (read(m->signalfd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			launch_reap(&m->launch);
		else
			m->interrupts++;
	}
}

static bool is_over(struct monitor *m, uint64_t now)
{
	size_t pending = deaths_pending(m->deaths);

	if (m->interrupts && (!m->end_ns || m->end_ns > now + LINGER_NS))
		m->end_ns = now + LINGER_NS;
	if (m->interrupts)
		return m->interrupts > 1 || pending == 0 || now >= m->end_ns;
	if (pending)
		return false;
	return rule_is_spent(m->rule, &m->state) || (m->end_ns && now >= m->end_ns) ||
	       (who_is_pids_only(&m->rule->who) && m->targets.n == 0);
}

static void loop(struct monitor *m)
{
	bool more = false;

	for (;;) {
		struct epoll_event ready[8];
		int timeout = more ? 0 : (int)(TICK_NS / NSEC_PER_MSEC);
		uint64_t now;

		if (epoll_wait(m->epollfd, ready, ARRAY_SIZE(ready), timeout) < 0 &&
			errno != EINTR) {
			log_error("event=loop errno=%d", errno);
			return;
		}
		read_signals(m);
		more = read_events(m);
		if (m->broker)
			read_broker(m);
		now = clock_now_ns(CLOCK_MONOTONIC);
		deaths_progress(m->deaths, now);
		if (now >= m->next_check_ns) {
			m->next_check_ns = now + CHECK_NS;
			check(m);
		}
		if (!more && is_over(m, now))
			return;
	}
}

static int status(const struct monitor *m)
{
	struct deaths_counts counts = deaths_counts(m->deaths);

	/* Where as many were captured as asked, those that failed do not matter. */
	if (counts.failed && (!m->rule->count || counts.captured < m->rule->count))
		return EXIT_FAILED;
	if (counts.captured || (counts.tripped && !captures_core(m->rule)))
		return EXIT_CAPTURED;
	if (who_is_pids_only(&m->rule->who) && m->targets.n == 0)
		return EXIT_TARGET_GONE;
	return counts.tripped ? EXIT_CAPTURED : EXIT_NO_TRIP;
}

int monitor_run(const struct monitor_options *options)
{
	struct monitor m = {.options = options,
		.feed = options->feed,
		.epollfd = -1,
		.signalfd = -1,
		.output = DESTINATION_NONE,
		.launch = LAUNCH_NONE};
	int result = EXIT_FAILED;

	if (arm(&m) == 0) {
		loop(&m);
		deaths_finish(m.deaths);
		losses_say(&m.feed, m.probe, &m.targets);
		result = status(&m);
	}
	disarm(&m);
	return result;
}
