/* SPDX-License-Identifier: MIT */
#include "capture/exit_tracer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/signals.h"

#define OPTIONS (PTRACE_O_TRACEEXIT | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)

#define POLL_MS 2 /* while threads gather */
/* A thread that others wait for in their exit stops, without a sign that it will end: for this long
 * it may just be between the one and the other. */
#define ALIVE_NS (100 * NSEC_PER_MSEC)
#define DYING_NS (500 * NSEC_PER_MSEC) /* for one that will end, but hangs in the kernel */

/* include/linux/sched.h */
#define PF_EXITING   0x00000004
#define PF_IO_WORKER 0x00000010 /* of io_uring: runs no code of the program, and is not traced */
#define PF_SIGNALED  0x00000400

bool exit_tracer_wants(const struct exit_tracer *t, int status)
{
	int signal = status & 0x7f;

	if (signal && (t->ignored & SIGNAL_BIT(signal)))
		return false;
	switch (t->wish) {
	case EXIT_WISH_ANY:
		return true;
	case EXIT_WISH_NONZERO:
		return status != 0;
	case EXIT_WISH_CODE:
		return !signal && (status >> 8 & 0xff) == t->code;
	case EXIT_WISH_NONE:
		break;
	}
	return false;
}

/* ---- the threads that have come to their exit stop ---- */

static struct exit_thread *find(const struct exit_tracer *t, pid_t tid)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].tid == tid)
			return &t->v[i];
	return NULL;
}

static struct exit_thread *add(struct exit_tracer *t, pid_t tid)
{
	struct exit_thread *known = find(t, tid);

	if (known)
		return known;
	if (t->n == t->room) {
		size_t want = t->room ? t->room * 2 : 64;
		struct exit_thread *v = reallocarray(t->v, want, sizeof(*v));

		if (!v)
			return NULL;
		t->v = v;
		t->room = want;
	}
	t->v[t->n] = (struct exit_thread){.tid = tid};
	return &t->v[t->n++];
}

static void forget(struct exit_tracer *t, pid_t tid)
{
	struct exit_thread *known = find(t, tid);

	if (known)
		*known = t->v[--t->n];
}

static void let_go(struct exit_tracer *t)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].held)
			ptrace(PTRACE_CONT, t->v[i].tid, NULL, 0);
		t->v[i].held = false;
	}
	t->gathering_ns = 0;
}

/* ---- arming ---- */

/* False when the thread is no more, or not one of the program's. */
static bool read_flags(int taskfd, unsigned int *flags)
{
	_cleanup_free_ char *stat = NULL;
	const char *end;
	char state;

	if (taskfd < 0 || io_read_file_at(taskfd, "stat", 4096, &stat, NULL) < 0)
		return false;
	end = strrchr(stat, ')');
	return end && sscanf(end + 1, " %c %*d %*d %*d %*d %*d %u", &state, flags) == 2 &&
	       state != 'Z' && state != 'X' && !(*flags & PF_IO_WORKER);
}

static bool is_over(const struct exit_tracer *t, pid_t tid)
{
	_cleanup_close_ int taskfd = process_open_task(t->process, tid);
	unsigned int flags;

	return !read_flags(taskfd, &flags);
}

/* The process that traces it; 0: none does. */
static pid_t tracer_of(const struct exit_tracer *t, pid_t tid)
{
	_cleanup_close_ int taskfd = process_open_task(t->process, tid);
	_cleanup_free_ char *status = NULL;
	const char *line;

	if (taskfd < 0 || io_read_file_at(taskfd, "status", 65536, &status, NULL) < 0)
		return 0;
	line = strstr(status, "\nTracerPid:\t");
	return line ? (pid_t)strtol(line + 12, NULL, 10) : 0;
}

static int explain(char reason[FREEZE_REASON_MAX], pid_t tid, pid_t tracer, int error)
{
	if (tracer)
		snprintf(reason, FREEZE_REASON_MAX, "thread %d is traced by process %d", tid,
			tracer);
	else
		snprintf(reason, FREEZE_REASON_MAX, "thread %d cannot be traced: %s", tid,
			strerror(error));
	return -error;
}

/* Seizes those of the process' list that are not ours already; *NEW counts them. */
static int seize_list(
	struct exit_tracer *t, size_t *seen, size_t *new, char reason[FREEZE_REASON_MAX])
{
	_cleanup_closedir_ DIR *dir = NULL;
	int e = io_open_dir_at(t->process->procfd, "task", &dir);
	struct dirent *entry;

	if (e < 0)
		return e == -ENOENT ? -ESRCH : e;
	*seen = *new = 0;
	while ((entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10), tracer;

		if (tid <= 0)
			continue;
		(*seen)++;
		if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)OPTIONS) == 0) {
			(*new)++;
			continue;
		}
		e = errno;
		tracer = tracer_of(t, tid);
		if (e != ESRCH && tracer != getpid() && !is_over(t, tid))
			return explain(reason, tid, tracer, e);
	}
	return 0;
}

/* Until a list has nobody new: a thread that one of ours starts is ours from its birth. */
int exit_tracer_arm(struct exit_tracer *t, size_t *threads, char reason[FREEZE_REASON_MAX])
{
	size_t seen, new;
	int r;

	do {
		r = seize_list(t, &seen, &new, reason);
	} while (r == 0 && new);
	/* They were seized by number; only now is it sure whose they are. */
	if (r == 0)
		r = process_verify(t->process);
	if (r == 0 && threads)
		*threads = seen;
	return r;
}

/* ---- is it the end of the process? ---- */

enum other { /* what a thread is that has not come to its exit stop */
	OTHER_OVER,
	OTHER_DYING,
	OTHER_ALIVE,
	OTHER_EXECUTES, /* it waits for the others' end, and lives on alone */
};

/* What a fatal signal and exit_group leave in each thread is a pending SIGKILL, then PF_SIGNALED.
 */
static enum other look_at(const struct exit_tracer *t, pid_t tid)
{
	_cleanup_close_ int taskfd = process_open_task(t->process, tid);
	_cleanup_free_ char *status = NULL, *call = NULL;
	unsigned long long pending = 0;
	unsigned int flags;
	const char *text;

	if (!read_flags(taskfd, &flags))
		return OTHER_OVER;
	if (flags & (PF_SIGNALED | PF_EXITING))
		return OTHER_DYING;
	if (io_read_file_at(taskfd, "status", 65536, &status, NULL) == 0) {
		text = strstr(status, "\nSigPnd:\t");
		if (text && sscanf(text + 9, "%llx", &pending) == 1 &&
			(pending & SIGNAL_BIT(SIGKILL)))
			return OTHER_DYING;
	}
	if (io_read_file_at(taskfd, "syscall", 256, &call, NULL) == 0) {
		long number = strtol(call, NULL, 10);

		if (number == SYS_execve || number == SYS_execveat)
			return OTHER_EXECUTES;
	}
	return OTHER_ALIVE;
}

struct others {
	size_t dying, alive, executing;
};

/* The threads that are neither held nor let go from their exit stop. */
static int look_at_others(const struct exit_tracer *t, struct others *out)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int r = io_open_dir_at(t->process->procfd, "task", &dir);
	struct dirent *entry;

	*out = (struct others){};
	if (r < 0)
		return r;
	while ((entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		enum other other = tid > 0 && !find(t, tid) ? look_at(t, tid) : OTHER_OVER;

		out->dying += other == OTHER_DYING;
		out->alive += other == OTHER_ALIVE;
		out->executing += other == OTHER_EXECUTES;
	}
	return 0;
}

/* The kernel writes a core of it, for which its threads must get on with their end (before Linux
 * 5.16; later they come to their exit stop only when that is done). */
static bool is_dumping(const struct exit_tracer *t)
{
	_cleanup_free_ char *status = NULL;

	return io_read_file_at(t->process->procfd, "status", 65536, &status, NULL) == 0 &&
	       strstr(status, "\nCoreDumping:\t1\n");
}

static int complete(struct exit_tracer *t, size_t missing)
{
	int r = 0;

	t->complete = true;
	t->missing = missing;
	for (size_t i = 0; r == 0 && i < t->n; i++) {
		/* Where a signal ended them all, the leader stands for them. */
		if (t->v[i].held && (!t->tid || (!t->brought && t->v[i].tid == t->process->pid)))
			t->tid = t->v[i].tid;
		if (t->v[i].held)
			r = thread_states_add(&t->states, t->v[i].tid);
		if (r == -ESRCH)
			r = 0; /* killed in its stop: the others will show it */
	}
	if (r < 0)
		return r;
	return t->states.n ? 1 : -ESRCH;
}

/* The threads that are held wait for the others: all of the process end, or it goes on. */
static int judge(struct exit_tracer *t)
{
	uint64_t waited = clock_now_ns(CLOCK_MONOTONIC) - t->gathering_ns;
	struct others others;

	if (!t->gathering_ns || t->complete)
		return 0;
	if (look_at_others(t, &others) < 0)
		return 0; /* gone: the wait tells */
	if (!others.dying && !others.alive && !others.executing && exit_tracer_wants(t, t->status))
		return complete(t, 0);
	/* They end for an exec, or (a filter that kills threads) alone, or otherwise than it first
	 * seemed. */
	if (others.executing || !exit_tracer_wants(t, t->status) || is_dumping(t) ||
		(others.alive && waited >= ALIVE_NS)) {
		let_go(t);
		t->tid = 0;
		t->brought = false;
	} else if (!others.alive && waited >= DYING_NS) {
		return complete(t, others.dying);
	}
	return 0;
}

/* ---- stops ---- */

/* The thread's own end, while others live, is not the process'. */
static bool ends_alone(pid_t tid)
{
	struct user_regs_struct regs;

	return ptrace(PTRACE_GETREGS, tid, NULL, &regs) == 0 && regs.orig_rax == SYS_exit;
}

static bool brought_the_end(pid_t tid)
{
	struct user_regs_struct regs;

	return ptrace(PTRACE_GETREGS, tid, NULL, &regs) == 0 && regs.orig_rax == SYS_exit_group;
}

static void take_exit(struct exit_tracer *t, pid_t tid)
{
	struct exit_thread *thread = add(t, tid);
	unsigned long status = 0;
	struct others others;
	bool alone = ends_alone(tid);

	if (!thread || ptrace(PTRACE_GETEVENTMSG, tid, NULL, &status) < 0) {
		ptrace(PTRACE_CONT, tid, NULL, 0);
		return;
	}
	if (alone && tid == t->process->pid)
		t->leader_status = (int)status;
	if (alone && look_at_others(t, &others) == 0 && (others.alive || others.executing)) {
		ptrace(PTRACE_CONT, tid, NULL, 0);
		return;
	}
	if (!alone)
		t->status = (int)status; /* the group's, for each of them */
	else if (!t->gathering_ns)
		t->status = t->leader_status;
	if (!exit_tracer_wants(t, t->status) || t->complete) {
		ptrace(PTRACE_CONT, tid, NULL, 0);
		return;
	}
	thread->held = true;
	if (!t->gathering_ns)
		t->gathering_ns = clock_now_ns(CLOCK_MONOTONIC);
	if (brought_the_end(tid)) {
		t->tid = tid;
		t->brought = true;
	}
}

/* A child by a clone(2) that is no thread is traced like one. */
static bool is_thread(const struct exit_tracer *t, pid_t tid)
{
	_cleanup_close_ int taskfd = process_open_task(t->process, tid);

	return taskfd >= 0;
}

static void take_stop(struct exit_tracer *t, pid_t tid, int status)
{
	int signal = WSTOPSIG(status);

	switch (status >> 16) {
	case PTRACE_EVENT_EXIT:
		take_exit(t, tid);
		return;
	case PTRACE_EVENT_EXEC: /* there is no other thread any more, and this one may be new */
		t->n = 0;
		t->gathering_ns = 0;
		break;
	case PTRACE_EVENT_STOP:
		if (signal != SIGTRAP) { /* a group stop, which is to last */
			ptrace(PTRACE_LISTEN, tid, NULL, 0);
			return;
		}
		if (!is_thread(t, tid)) {
			ptrace(PTRACE_DETACH, tid, NULL, 0);
			return;
		}
		break;
	case 0:
		ptrace(PTRACE_CONT, tid, NULL, signal);
		return;
	}
	ptrace(PTRACE_CONT, tid, NULL, 0);
}

int exit_tracer_step(struct exit_tracer *t)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		if (WIFSTOPPED(status)) {
			take_stop(t, tid, status);
			continue;
		}
		if (tid == t->process->pid)
			return -ESRCH;
		forget(t, tid);
	}
	if (tid < 0)
		return errno == ECHILD ? -ESRCH : -errno;
	return judge(t);
}

int exit_tracer_timeout(const struct exit_tracer *t)
{
	return t->gathering_ns && !t->complete ? POLL_MS : -1;
}

void exit_tracer_release(struct exit_tracer *t)
{
	let_go(t);
}

void exit_tracer_free(struct exit_tracer *t)
{
	thread_states_free(&t->states);
	free(t->v);
	t->v = NULL;
	t->n = t->room = 0;
}
