/* SPDX-License-Identifier: MIT */
/* coretrap dump: a core of a running process, now. */
#include <argp.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/destination.h"
#include "cli/live.h"
#include "cli/progress.h"
#include "cli/usage.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "sink/feed.h"
#include "sink/incident.h"

#define PIPE_GRACE_S 1

enum { /* options without a letter */
	OPT_KIND = 256,
	OPT_SNAPSHOT,
	OPT_MAX_PAUSE,
	OPT_COMPRESS,
	OPT_COMPRESS_THREADS,
	OPT_COMMENT,
	OPT_IGNORE_CORE_LIMIT,
	OPT_JSON,
};

#define COMPRESS_THREADS_MAX 64

static const struct argp_option options[] = {
	{"kind", OPT_KIND, "full|heap|mini|stacks", 0, "how much of it (default full)", 0},
	{"snapshot", OPT_SNAPSHOT, "auto|fork|stop", 0,
		"write a copy-on-write clone while it goes on, or the process itself while it "
		"stands "
		"still (default: a clone where that is possible)",
		0},
	{"max-pause", OPT_MAX_PAUSE, "TIME", 0,
		"it stands still no longer (default: as long as it takes); with a longer estimate, "
		"stacks only",
		0},
	{"compress", OPT_COMPRESS, "zstd|none", 0,
		"of the core (default zstd; none: a sparse file)", 0},
	{"compress-threads", OPT_COMPRESS_THREADS, "N", 0,
		"that compress it (default: as many as the machine can spare)", 0},
	{"output", 'o', "DIR|FILE|-", 0,
		"a store of captures (default /var/lib/coretrap), a new file, or standard output",
		0},
	{"comment", OPT_COMMENT, "TEXT", 0, "kept with the capture", 0},
	{"ignore-core-limit", OPT_IGNORE_CORE_LIMIT, 0, 0,
		"memory also where the hard RLIMIT_CORE is 0", 0},
	{"json", OPT_JSON, 0, 0, "the events as JSON lines on standard output", 0},
	{"quiet", 'q', 0, 0, "only the capture, and what went wrong", 0},
	{"verbose", 'v', 0, 0, "more log lines; twice: all", 0},
	{0},
};

struct dump_options {
	pid_t pid;
	struct capture_options what;
	bool json, quiet, compress_given;
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

static void parse_threads(struct argp_state *state, struct dump_options *o, const char *arg)
{
	uint64_t threads;

	if (text_parse_u64(arg, &threads) < 0 || threads == 0 || threads > COMPRESS_THREADS_MAX)
		argp_error(state, "--compress-threads: '%s' is not a number from 1 to %d", arg,
			COMPRESS_THREADS_MAX);
	o->what.compress_threads = (unsigned int)threads;
}

static int parse_name(
	struct argp_state *state, const char *flag, const char *arg, int value, const char *names)
{
	if (value < 0)
		argp_error(state, "%s: '%s' is not one of %s", flag, arg, names);
	return value;
}

static void check(struct argp_state *state, struct dump_options *o)
{
	if (!o->pid)
		argp_error(state, "PID is missing");
	if (o->what.kind == CORE_STACKS && o->compress_given)
		argp_error(state, "--compress: kind stacks has no core");
	if (o->what.compress_threads && o->what.compression == COMPRESS_NONE)
		argp_error(state, "--compress-threads: --compress none needs none");
	if (o->what.kind == CORE_STACKS && o->what.snapshot != SNAPSHOT_AUTO)
		argp_error(state, "--snapshot: kind stacks has no memory");
	o->what.form = destination_form(o->what.output);
	if (o->what.form == OUTPUT_STDOUT && o->json)
		argp_error(state, "--output: standard output cannot take the core and --json both");
	if (o->json && o->quiet)
		argp_error(state, "--quiet: --json has every event");
}

static void parse_what(int key, char *arg, struct argp_state *state, struct dump_options *o)
{
	switch (key) {
	case OPT_KIND:
		o->what.kind = (enum core_kind)parse_name(state, "--kind", arg,
			strcmp(arg, "none") == 0 ? -EINVAL : core_kind_parse(arg),
			"full, heap, mini, stacks");
		break;
	case OPT_SNAPSHOT:
		o->what.snapshot = (enum snapshot_mode)parse_name(
			state, "--snapshot", arg, snapshot_mode_parse(arg), "auto, fork, stop");
		break;
	case OPT_MAX_PAUSE:
		if (text_parse_duration(arg, &o->what.max_pause_ns) < 0)
			argp_error(state, "--max-pause: '%s' is not a time (250ms, 10s)", arg);
		if (o->what.max_pause_ns == 0)
			argp_error(state, "--max-pause: must be longer than 0");
		break;
	case OPT_COMPRESS:
		o->what.compression = (enum core_compression)parse_name(
			state, "--compress", arg, core_compression_parse(arg), "zstd, none");
		o->compress_given = true;
		break;
	case OPT_COMPRESS_THREADS:
		parse_threads(state, o, arg);
		break;
	case OPT_COMMENT:
		if (strlen(arg) > 4096)
			argp_error(state, "--comment: longer than 4096 bytes");
		o->what.comment = arg;
		break;
	}
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct dump_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		usage_one_line(state);
		return 0;
	case 'o':
		if (!*arg)
			argp_error(state, "--output: needs a directory, a file or -");
		o->what.output = arg;
		return 0;
	case OPT_IGNORE_CORE_LIMIT:
		o->what.ignore_core_limit = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case 'v':
		log_set_level(log_get_level() < LOG_LEVEL_INFO ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
		return 0;
	case ARGP_KEY_ARG:
		parse_pid(state, o, arg);
		return 0;
	case ARGP_KEY_END:
		check(state, o);
		return 0;
	default:
		if (key < OPT_KIND || key > OPT_COMMENT)
			return ARGP_ERR_UNKNOWN;
		parse_what(key, arg, state, o);
		return 0;
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
	struct progress progress = {.shown = !o->json && !o->quiet && isatty(STDERR_FILENO)};
	const struct capture_options what = destination_options(to, &o->what);
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
	if (!o->json && !o->quiet)
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

static int run(const struct dump_options *o, int *cancelled)
{
	struct feed feed = {.out = o->what.form == OUTPUT_STDOUT ? stderr : stdout,
		.json = o->json,
		.quiet = o->quiet,
		.store = o->what.output};
	_cleanup_process_ struct process p = PROCESS_NONE;
	_cleanup_(destination_close) struct destination to = DESTINATION_NONE;
	_cleanup_json_ json_t *incident = NULL;
	_cleanup_free_ char *reason = NULL;
	int r = process_open(o->pid, &p);

	if (r == -ESRCH) {
		fprintf(stderr, "coretrap dump: there is no process %d\n", o->pid);
		return EXIT_TARGET_GONE;
	}
	if (r == 0)
		r = destination_open(&o->what, &to);
	if (r < 0)
		return EXIT_FAILED;
	r = dump(o, &p, &to, cancelled, &incident, &reason);
	if (r < 0)
		fprintf(stderr, "coretrap dump: process %d was not captured: %s\n", o->pid,
			reason ? reason : strerror(-r));
	else if (feed_write(&feed, incident) < 0)
		r = -EPIPE;
	return exit_status(r, incident);
}

int cmd_dump(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "PID",
		.doc = "Captures a running process, which stands still for milliseconds.",
	};
	struct dump_options o = {0};
	struct waiter waiter = {0};
	pthread_t thread;
	sigset_t ends;

	argv[0] = (char *)"coretrap dump";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	waiter.piped = o.what.form == OUTPUT_STDOUT;
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
