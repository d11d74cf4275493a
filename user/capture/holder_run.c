/* SPDX-License-Identifier: MIT */
#include "capture/holder_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/clone.h"
#include "capture/fault.h"
#include "capture/restart.h"
#include "capture/stacks.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

#define WATCH_MS 100 /* how soon the end of the process ends its clone */

struct holder {
	const struct hold_request *req;
	struct hold_shared *shared;
	int sock;
	int memfd; /* of the process */
	struct inject_site site;
	struct restart_looks looks;
	struct freezer freezer;
	struct thread_states states;
	struct clone clone;
	struct hold_report report;
	struct hold_last last;
};

static int fail(struct holder *h, int error, const char *text)
{
	if (text && !h->report.reason[0])
		snprintf(h->report.reason, sizeof(h->report.reason), "%s", text);
	return error;
}

static int send_all(int sock, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = send(sock, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* All that can be done before anything stands still. */
static int look(struct holder *h)
{
	const char *what;
	int r;

	h->memfd = openat(h->req->taskfd, "mem", O_RDWR | O_CLOEXEC);
	if (h->memfd < 0)
		return fail(h, -errno, "its memory cannot be opened");
	if (h->req->way == HOLD_FORK && !h->req->no_fork) {
		r = inject_find_site(h->memfd, h->req->maps, &h->site, &what);
		if (r == -ENOENT)
			snprintf(h->report.reason, sizeof(h->report.reason),
				"the process has not got %s", what);
		else if (r < 0)
			return r;
	} else if (h->req->way == HOLD_FORK) {
		fail(h, 0, h->req->no_fork);
	}
	r = thread_states_reserve(&h->states, h->req->size->threads);
	return r < 0 ? r : restart_look(h->req->process, 0, &h->looks);
}

/* Calls that the stop broke start again. */
static void mend_calls(struct holder *h)
{
	const struct thread_state *t = NULL;

	while ((t = thread_states_next(&h->states, t)) != NULL) {
		struct user_regs_struct regs = t->regs;

		if (!restart_is_broken(&regs))
			continue;
		restart_check(&h->looks, h->req->process, t->tid);
		if (restart_fix(&regs, &h->looks, t->tid, clock_now_ns(CLOCK_MONOTONIC)))
			ptrace(PTRACE_SETREGS, t->tid, NULL, &regs);
	}
}

static int take_registers(struct holder *h)
{
	for (size_t i = 0; i < h->freezer.n; i++) {
		int r = thread_states_add(&h->states, h->freezer.v[i].tid);

		/* -ESRCH: killed in its stop, which the others will show. */
		if (r < 0 && r != -ESRCH)
			return fail(h, r,
				r == -EOPNOTSUPP ? "it is a 32-bit process"
						 : "registers could not be read");
	}
	mend_calls(h);
	fault_point("registers");
	return h->states.n ? 0 : -ESRCH;
}

static void release(struct holder *h)
{
	if (h->report.frozen_ns && !h->last.pause_ns) {
		__atomic_store_n(&h->shared->released, 1, __ATOMIC_SEQ_CST);
		freeze_release(&h->freezer);
		h->last.pause_ns = clock_now_ns(CLOCK_MONOTONIC) - h->report.frozen_ns;
	}
	fault_point("released");
}

/* The clone, where one is wanted and possible; else the way that is left. */
static int take_snapshot(struct holder *h)
{
	const struct hold_request *req = h->req;
	int r = -ENOENT;

	h->report.way = (int)req->way;
	if (req->stacksfd >= 0 && req->way != HOLD_FORK)
		stacks_copy(req->stacksfd, h->memfd, req->maps, &h->states);
	if (req->way != HOLD_FORK)
		return 0;
	if (!h->report.reason[0]) {
		r = freeze_start_ticks();
		if (r == 0)
			r = clone_take(&h->freezer, &h->states, h->memfd, &h->site, req->seccomp,
				&h->clone, h->report.reason);
		freeze_stop_ticks();
	}
	if (r == 0) {
		h->report.clone = h->clone.pid;
		return 0;
	}
	/* Such a thread comes right only when we end. */
	if (r == -ETIMEDOUT || r == -EPROTO || r == -ESRCH || req->otherwise == HOLD_FORK)
		return r;
	h->report.way = (int)req->otherwise;
	if (req->stacksfd >= 0)
		stacks_copy(req->stacksfd, h->memfd, req->maps, &h->states);
	return 0;
}

static int settle(struct holder *h)
{
	char path[32];
	_cleanup_close_ int memfd = -1;
	int r;

	h->report.dumpable = -1;
	if (h->report.way != HOLD_STOP)
		release(h);
	if (!h->clone.pid)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", h->clone.pid);
	memfd = open(path, O_RDWR | O_CLOEXEC);
	if (memfd < 0)
		return fail(h, -errno, "the clone's memory cannot be opened");
	r = clone_settle(&h->clone, memfd);
	if (r < 0)
		return fail(h, r, "the clone could not be set up");
	h->report.dumpable = r;
	return 0;
}

/* While the process stands still, it must not wait behind the rest of a busy host. */
static void hurry(bool on)
{
	const struct sched_param first = {.sched_priority = 1}, plain = {0};

	sched_setscheduler(
		0, (on ? SCHED_RR : SCHED_OTHER) | SCHED_RESET_ON_FORK, on ? &first : &plain);
}

static int hold(struct holder *h)
{
	uint64_t now;
	int r = look(h);

	if (r < 0)
		return r;
	hurry(true);
	now = clock_now_ns(CLOCK_MONOTONIC);
	r = freeze_all(&h->freezer, h->req->process, now + h->req->freeze_ns);
	h->report.frozen_ns = h->freezer.began_ns;
	if (r < 0) {
		h->report.reason[0] = '\0'; /* why it is not cloned does not matter any more */
		return fail(h, r, h->freezer.reason);
	}
	r = take_registers(h);
	if (r == 0)
		r = take_snapshot(h);
	if (r == 0)
		r = settle(h);
	hurry(false);
	return r;
}

static int report(struct holder *h, int error)
{
	int r;

	h->report.error = error;
	h->report.pause_ns = h->last.pause_ns;
	h->report.states = h->states.n;
	h->report.states_size = h->states.size;
	r = send_all(h->sock, &h->report, sizeof(h->report));
	return r < 0 || error ? r : send_all(h->sock, h->states.bytes, h->states.size);
}

/* Whether the memory that was cloned still is the process': not after an exit, nor an exec. */
static bool still_there(struct holder *h)
{
	char byte;

	return pread(h->memfd, &byte, 1, (off_t)h->site.gadget) != 0;
}

static void drop(struct holder *h, const char *why)
{
	snprintf(h->last.dropped, sizeof(h->last.dropped), "%s", why);
	clone_kill(&h->clone);
}

/* Why the clone must not live on; NULL: it may. */
static const char *find_reason(struct holder *h)
{
	struct limits_host host;

	if (!still_there(h))
		return "the process ended or executed another program meanwhile";
	limits_read_host(&host);
	return limits_drop_reason(
		&host, h->req->size, limits_read_headroom(h->req->process->procfd));
}

/* Milliseconds until something is due. */
static int wait_time(const struct holder *h)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC), end;

	if (h->clone.pid)
		return WATCH_MS;
	if (h->last.pause_ns || !h->req->max_pause_ns)
		return -1;
	end = h->report.frozen_ns + h->req->max_pause_ns;
	return end > now ? (int)((end - now) / NSEC_PER_MSEC) : 0;
}

/* It was killed in its stop: its parent hears of that only once its tracer has. */
static void bury(struct holder *h)
{
	int status;

	for (size_t i = 0; i < h->freezer.n; i++)
		while (waitpid(h->freezer.v[i].tid, &status, __WALL) > 0 && WIFSTOPPED(status))
			;
	release(h);
}

/* Until whoever writes the core has done, or has gone. */
static void serve(struct holder *h)
{
	struct pollfd waits[2] = {{.fd = h->sock, .events = POLLIN},
		{.fd = h->req->process->pidfd, .events = POLLIN}};
	const char *reason;
	char word = 0;

	while (word != HOLD_END) {
		bool stands = !h->clone.pid && !h->last.pause_ns;
		int n = poll(waits, h->clone.pid || stands ? 2 : 1, wait_time(h));

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0 && waits[0].revents) {
			if (recv(h->sock, &word, 1, 0) <= 0)
				return;
			if (word == HOLD_RELEASE)
				release(h);
		} else if (h->clone.pid) {
			reason = find_reason(h);
			if (reason)
				drop(h, reason);
		} else if (n > 0 && stands) {
			snprintf(h->last.dropped, sizeof(h->last.dropped),
				"the process was killed meanwhile");
			bury(h);
		} else if (n == 0 && stands) {
			h->last.broken_off = true;
			release(h);
		}
	}
}

static void end_clone(struct holder *h)
{
	uint64_t pause;
	int r;

	release(h);
	h->last.reaped = true;
	if (h->clone.ns_pid) {
		clone_kill(&h->clone);
		fault_point("killed");
		r = clone_reap(h->req->process, h->clone.ns_pid, &pause);
		h->last.reaped = r == 0 || r == -ECHILD || !still_there(h);
		fault_point("reaped");
	}
}

_Noreturn void holder_run(const struct hold_request *req, struct hold_shared *shared, int sock)
{
	struct holder h = {
		.req = req, .shared = shared, .sock = sock, .memfd = -1, .clone = CLONE_NONE};
	sigset_t all;
	int r;

	/* Ended by the socket alone, not by what is typed at the terminal. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	r = hold(&h);
	if (report(&h, r) == 0 && r == 0)
		serve(&h);
	/* A thread that did not come back from the call comes right when we end, and only then. */
	if (r == 0 || h.clone.ns_pid)
		end_clone(&h);
	if (r == 0)
		send_all(h.sock, &h.last, sizeof(h.last));
	_exit(0);
}
