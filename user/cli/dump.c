/* SPDX-License-Identifier: MIT */
/* coretrap dump: a core of a running process, now. */
#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/destination.h"
#include "cli/flags.h"
#include "cli/live.h"
#include "cli/progress.h"
#include "cli/usage.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/text.h"
#include "sink/feed.h"
#include "sink/incident.h"

#define PIPE_GRACE_S 1
#define LOOK_NS	     (100 * NSEC_PER_MSEC) /* between two looks for whether an end was asked for */

enum {
	OPT_EVERY = 256
};

static const struct argp_option options[] = {
	{"count", 'n', "N", 0, "so many captures (default 1; 0: until it ends)", 0},
	{"every", OPT_EVERY, "TIME", 0, "this long from one to the next", 0},
	{0},
};

struct dump_options {
	pid_t pid;
	struct flags flags;
};

static void parse_pid(struct argp_state *state, struct dump_options *o, const char *arg)
{
	uint64_t pid;

	if (o->pid)
		argp_error(state, "'%s': one process at a time", arg);
	if (text_parse_u64(arg, &pid) < 0 || pid == 0 || pid > INT32_MAX)
		argp_error(state, "'%s' is not a process id", arg);
	o->pid = (pid_t)pid;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct dump_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = state->child_inputs[1] = &o->flags;
		usage_one_line(state);
		return 0;
	case ARGP_KEY_ARG:
		parse_pid(state, o, arg);
		return 0;
	case ARGP_KEY_END:
		if (!o->pid)
			argp_error(state, "PID is missing");
		if (o->flags.rule.what.kind == CORE_NONE)
			argp_error(state, "--kind: none captures nothing");
		flags_finish(&o->flags, state, spec_finish_what);
		return 0;
	default:
		return flags_set(&o->flags, state, options, key, arg);
	}
}

static void draw(void *arg, uint64_t done, uint64_t total)
{
	progress_draw(arg, done, total);
}

struct waiter {
	int cancelled;
	bool piped; /* the core goes to standard output */
};

/* The signals that ask for an end are looked for, not handled: its flag is set by a thread of no
 * other use, which waits for them. */
static void *wait_for_end(void *arg)
{
	struct waiter *waiter = arg;
	sigset_t ends;
	int signal;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	sigwait(&ends, &signal);
	__atomic_store_n(&waiter->cancelled, 1, __ATOMIC_RELAXED);
	/* A reader of standard output who has stopped reading holds up the write for ever; there is
	 * nothing to be taken back there, and the holder lets the process go when we end. */
	if (waiter->piped) {
		sleep(PIPE_GRACE_S);
		fputs("coretrap dump: interrupted\n", stderr);
		_exit(EXIT_FAILED);
	}
	return NULL;
}

static json_t *make_event(const struct process *p)
{
	_cleanup_identity_ struct identity id = {0};

	if (identity_read(p->procfd, &id) < 0)
		return NULL;
	id.pid = p->pid;
	return incident_manual(&id, clock_now_ns(CLOCK_REALTIME));
}

static void announce(const struct dump_options *o, const struct live_plan *plan)
{
	char size[32];

	if (plan->what.kind == CORE_FULL)
		fprintf(stderr,
			"process %d, up to %s before compression: stands still for about %llu ms\n",
			o->pid, text_format_size(plan->size.resident, size, sizeof(size)),
			(unsigned long long)(plan->pause_ns / NSEC_PER_MSEC + 1));
	else
		fprintf(stderr, "process %d, %s: stands still for about %llu ms\n", o->pid,
			core_kind_name(plan->what.kind),
			(unsigned long long)(plan->pause_ns / NSEC_PER_MSEC + 1));
}

static int dump(const struct dump_options *o, const struct process *p, struct destination *to,
	int *cancelled, json_t **incident, char **reason)
{
	struct progress progress = {
		.shown = !o->flags.json && !o->flags.quiet && isatty(STDERR_FILENO)};
	const struct capture_options what = destination_options(to, &o->flags.rule.what);
	_cleanup_json_ json_t *event = make_event(p);
	struct live_job job = {.process = p,
		.event = event,
		.trigger = "manual",
		.output_fd = destination_begin(to),
		.cancelled = cancelled,
		.progress = draw,
		.progress_arg = &progress};
	struct live_plan plan;
	int r = live_plan(p, &what, &plan);

	if (r < 0) {
		*reason = strdup(r == -ESRCH ? "it has ended" : plan.preflight.refused);
		return r;
	}
	if (job.output_fd < 0)
		return job.output_fd;
	if (!event)
		return -ESRCH;
	if (!o->flags.json && !o->flags.quiet)
		announce(o, &plan);
	r = live_capture(&job, &plan, incident, reason);
	progress_end(&progress);
	if (r == 0)
		r = destination_end(to, true, json_object_get(*incident, "capture"));
	else
		destination_end(to, false, NULL);
	return r;
}

static int exit_status(int r, json_t *incident)
{
	if (r == -ESRCH)
		return EXIT_TARGET_GONE;
	if (r < 0)
		return EXIT_FAILED;
	return json_is_true(json_object_get(json_object_get(incident, "capture"), "complete"))
		       ? EXIT_CAPTURED
		       : EXIT_FAILED;
}

static int dump_once(const struct dump_options *o, const struct process *p, struct destination *to,
	int *cancelled, struct feed *feed)
{
	_cleanup_json_ json_t *incident = NULL;
	_cleanup_free_ char *reason = NULL;
	int r = dump(o, p, to, cancelled, &incident, &reason);

	if (r < 0)
		fprintf(stderr, "coretrap dump: process %d was not captured: %s\n", o->pid,
			reason ? reason : strerror(-r));
	else if (feed_write(feed, incident) < 0)
		r = -EPIPE;
	return exit_status(r, incident);
}

/* Until WHEN; false: the process has ended, or an end was asked for. */
static bool wait_until(uint64_t when, const struct process *p, const int *cancelled)
{
	struct pollfd end = {.fd = p->pidfd, .events = POLLIN};

	for (;;) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

		if (__atomic_load_n(cancelled, __ATOMIC_RELAXED) || process_verify(p) < 0)
			return false;
		if (now >= when)
			return true;
		poll(&end, 1,
			when - now < LOOK_NS ? (int)((when - now) / NSEC_PER_MSEC) + 1
					     : (int)(LOOK_NS / NSEC_PER_MSEC));
	}
}

static int dump_all(const struct dump_options *o, const struct process *p, struct destination *to,
	int *cancelled, struct feed *feed)
{
	uint64_t count = o->flags.rule.count, last = 0;

	for (uint64_t done = 0; !count || done < count; done++) {
		int status;

		if (done && !wait_until(last + o->flags.rule.every_ns, p, cancelled)) {
			if (count)
				fprintf(stderr,
					"coretrap dump: process %d: %s after %ju of %ju captures\n",
					o->pid, process_verify(p) < 0 ? "ended" : "interrupted",
					(uintmax_t)done, (uintmax_t)count);
			return count ? EXIT_FAILED : EXIT_CAPTURED;
		}
		last = clock_now_ns(CLOCK_MONOTONIC);
		status = dump_once(o, p, to, cancelled, feed);
		if (status != EXIT_CAPTURED)
			return status == EXIT_TARGET_GONE && done ? EXIT_FAILED : status;
	}
	return EXIT_CAPTURED;
}

static int run(const struct dump_options *o, int *cancelled)
{
	struct feed feed = {.out = o->flags.rule.what.form == OUTPUT_STDOUT ? stderr : stdout,
		.json = o->flags.json,
		.quiet = o->flags.quiet,
		.store = o->flags.rule.what.output};
	_cleanup_process_ struct process p = PROCESS_NONE;
	_cleanup_(destination_close) struct destination to = DESTINATION_NONE;
	int r = process_open(o->pid, &p);

	if (r == -ESRCH) {
		fprintf(stderr, "coretrap dump: there is no process %d\n", o->pid);
		return EXIT_TARGET_GONE;
	}
	if (r == 0)
		r = destination_open(&o->flags.rule.what, &to);
	if (r < 0)
		return EXIT_FAILED;
	return dump_all(o, &p, &to, cancelled, &feed);
}

int cmd_dump(int argc, char **argv)
{
	static const struct argp_child children[] = {
		{&flags_what_argp, 0, NULL, 0}, {&flags_print_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "PID",
		.doc = "Captures a running process, which stands still for milliseconds.",
		.children = children,
	};
	struct dump_options o = {0};
	struct waiter waiter = {0};
	pthread_t thread;
	sigset_t ends;

	flags_init(&o.flags, &(struct rule){.name = "dump", .count = 1});
	argv[0] = (char *)"coretrap dump";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	waiter.piped = o.flags.rule.what.form == OUTPUT_STDOUT;
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	if (pthread_sigmask(SIG_BLOCK, &ends, NULL) ||
		pthread_create(&thread, NULL, wait_for_end, &waiter))
		return EXIT_FAILED;
	return run(&o, &waiter.cancelled);
}
