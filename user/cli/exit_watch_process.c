/* SPDX-License-Identifier: MIT */
#include "cli/exit_watch_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "capture/exit_tracer.h"
#include "capture/preflight.h"
#include "capture/runtime.h"
#include "cli/capture_job.h"
#include "cli/handler_guard.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/isolate.h"
#include "lib/json.h"
#include "sink/incident.h"

/* Of the time that the process is held, as for a crash (cli/core_handler.c): to wait for a slot,
 * and until the core writer closes the file. */
#define SLOT_NS(hold_ns) ((hold_ns) / 4 * 3)
#define CORE_NS(hold_ns) ((hold_ns) / 12 * 11)
#define SLOTS		 2

struct watcher {
	const struct exit_watch_request *request;
	struct exit_tracer tracer;
	int replyfd, signalfd, outputfd;
	json_t *trip;
	pid_t writer;		   /* 0: none is at work */
	int donefd;		   /* readable when the writer has done, or died */
	uint64_t held_ns, hold_ns; /* CLOCK_MONOTONIC since when, and how long at most */
};

/* A line goes out in one piece: the writer of the core and its parent take turns. */
static int say(const struct watcher *w, json_t *message)
{
	_cleanup_json_ json_t *owned = message;
	_cleanup_free_ char *line =
		json_dumps(message, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
	size_t size;

	if (!line)
		return -ENOMEM;
	size = strlen(line);
	line[size] = '\n'; /* in place of the NUL */
	return io_write_all(w->replyfd, line, size + 1);
}

static int say_skip(const struct watcher *w, const char *reason, const char *detail)
{
	json_t *skip = incident_follow(w->trip, "skip", clock_now_ns(CLOCK_REALTIME));

	if (skip)
		json_put_text(skip, "reason", reason);
	if (skip && detail)
		json_put_text(skip, "detail", detail);
	return say(w, skip);
}

/* ---- the writer ---- */

static int capture(struct watcher *w, json_t **incident, char **reason)
{
	struct exit_tracer *t = &w->tracer;
	const struct process *p = w->request->process;
	_cleanup_close_ int taskfd = process_open_task(p, t->tid), runtimefd = -1, slotfd = -1;
	_cleanup_maps_ struct maps maps = {};
	_cleanup_notes_ struct notes notes = {};
	const struct capture_job job = {.process = p,
		.taskfd = taskfd,
		.tid = t->tid,
		.notes = &notes,
		.what = w->request->what,
		.event = w->trip,
		.trigger = "exit",
		.snapshot = "exit",
		.output_fd = w->outputfd,
		.held_ns = w->held_ns,
		.deadline_ns = w->held_ns + CORE_NS(w->hold_ns)};
	int r = taskfd < 0 ? taskfd : 0;

	/* A process' end must not depend on whether a directory can be had. */
	if (r == 0 && runtime_open(RUNTIME_DIRECTORY, 1, &runtimefd) == 0)
		r = guard_take_slot(runtimefd, SLOTS, w->held_ns + SLOT_NS(w->hold_ns), &slotfd);
	if (r == 0)
		r = maps_read(taskfd, false, &maps);
	if (r == 0)
		r = thread_state_notes(&t->states, p, taskfd, &maps, t->tid, &notes);
	return r == 0 ? capture_job_run(&job, incident, reason) : r;
}

static const char *failure_code(int error)
{
	return error == -ETIMEDOUT ? "throttled"
	       : error == -ESRCH   ? "target-gone"
	       : error == -ENOSPC  ? "no-space"
				   : "capture-failed";
}

_Noreturn static void write_capture(struct watcher *w, int donefd)
{
	json_t *incident = NULL;
	char *reason = NULL;
	sigset_t none;
	int r;

	/* Whoever kills the tracer means the capture. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	guard_step_back(NULL);
	r = capture(w, &incident, &reason);
	r = r == 0 ? say(w, incident)
		   : say_skip(w, failure_code(r), reason ? reason : strerror(-r));
	if (r == 0)
		io_write_all(donefd, "d", 1);
	_exit(r < 0);
}

static int start_writer(struct watcher *w)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	w->writer = fork();
	if (w->writer == 0)
		write_capture(w, ends[1]);
	close(ends[1]);
	w->donefd = ends[0];
	if (w->writer > 0)
		return 0;
	w->writer = 0;
	cleanup_close(&w->donefd);
	return -errno;
}

/* ---- the tracer ---- */

static void let_go(struct watcher *w)
{
	w->writer = 0;
	cleanup_close(&w->donefd);
	exit_tracer_release(&w->tracer);
}

static int make_trip(struct watcher *w)
{
	const struct exit_tracer *t = &w->tracer;
	_cleanup_identity_ struct identity id = {};
	int r = identity_read(w->request->process->procfd, &id);

	id.pid = w->request->process->pid;
	id.tid = t->tid;
	if (r == 0)
		w->trip = incident_trip_exit(
			&id, w->request->rule, t->status, clock_now_ns(CLOCK_REALTIME));
	if (!w->trip)
		return r < 0 ? r : -ENOMEM;
	/* Their registers will not be in the core. */
	return t->missing
		       ? json_put_int(json_object_get(json_object_get(w->trip, "trigger"), "exit"),
				 "threads_missing", (int64_t)t->missing)
		       : 0;
}

/* The process has come to a wanted end, or (with R) could not be held there. */
static void take_end(struct watcher *w, int r)
{
	int error = make_trip(w);

	w->held_ns = clock_now_ns(CLOCK_MONOTONIC);
	if (error == 0)
		error = say(w, json_incref(w->trip));
	if (error == 0 && r < 0)
		error = say_skip(w, "capture-failed",
			r == -EOPNOTSUPP ? "it is a 32-bit process" : strerror(-r));
	else if (error == 0)
		error = start_writer(w);
	if (error < 0 || r < 0)
		let_go(w);
}

static void check_writer(struct watcher *w, bool said)
{
	char byte;

	if (!w->writer)
		return;
	if (said) {
		if (io_read_exact(w->donefd, &byte, 1) < 0)
			say_skip(w, "writer-died", NULL);
		let_go(w);
	} else if (clock_now_ns(CLOCK_MONOTONIC) >= w->held_ns + w->hold_ns) {
		/* Not waited for: it may hang on a disk. */
		kill(w->writer, SIGKILL);
		say_skip(w, "timeout", "the capture took too long, and was given up");
		let_go(w);
	}
}

static int wait_time(const struct watcher *w)
{
	return w->writer ? 100 : exit_tracer_timeout(&w->tracer);
}

/* Until the process has ended, or nobody listens any more. */
static void run(struct watcher *w)
{
	struct pollfd waits[] = {{.fd = w->signalfd, .events = POLLIN}, {.fd = w->replyfd}, {}};
	struct signalfd_siginfo info;
	bool ended = false;

	while (!ended || w->writer) {
		int r = ended ? 0 : exit_tracer_step(&w->tracer);

		if (r == 1 || (r < 0 && r != -ESRCH))
			take_end(w, r);
		ended = ended || r == -ESRCH;
		if (ended && !w->writer)
			return;
		waits[2] = (struct pollfd){.fd = w->donefd, .events = POLLIN};
		poll(waits, ARRAY_SIZE(waits), wait_time(w));
		while (read(w->signalfd, &info, sizeof(info)) == sizeof(info))
			;
		check_writer(w, waits[2].revents != 0);
		if (waits[1].revents && !w->writer)
			return;
	}
}

static int arm(struct watcher *w)
{
	char reason[FREEZE_REASON_MAX] = "";
	struct preflight preflight;
	bool gone;
	size_t threads = 0;
	json_t *message;
	int r = preflight_check(w->request->process, &preflight);

	if (r == 0)
		r = exit_tracer_arm(&w->tracer, &threads, reason);
	/* A tracer that comes too late is nobody's fault: of such an end its record tells. */
	gone = r == -ESRCH ||
	       (r < 0 && (preflight.ended || process_verify(w->request->process) < 0));
	if (gone)
		message = json_pack("{s:s}", "message", "gone");
	else if (r == 0)
		message = json_pack("{s:s, s:I, s:s}", "message", "armed", "threads",
			(json_int_t)threads, "cost", EXIT_TRACER_COST);
	else
		message = json_pack("{s:s, s:s}", "message", "refused", "reason",
			r == -EPERM && preflight.refused[0] ? preflight.refused
			: reason[0]			    ? reason
							    : strerror(-r));
	return message && say(w, message) == 0 ? r : -ENOMEM;
}

_Noreturn void exit_watch_process(const struct exit_watch_request *request, int replyfd)
{
	struct watcher w = {.request = request,
		.tracer = {.process = request->process,
			.wish = request->wish,
			.code = request->code,
			.ignored = request->ignored},
		.replyfd = replyfd,
		.hold_ns = request->hold_ns ? request->hold_ns : EXIT_WATCH_HOLD_NS,
		.signalfd = -1,
		.outputfd = fcntl(request->output_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1),
		.donefd = -1};
	const int keep[] = {replyfd, w.outputfd, request->process->pidfd, request->process->procfd};
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	if (w.outputfd < 0 || isolate(keep, ARRAY_SIZE(keep), &chld, &w.signalfd) < 0)
		_exit(1);
	if (arm(&w) == 0)
		run(&w);
	_exit(0);
}
