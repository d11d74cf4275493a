/* SPDX-License-Identifier: MIT */
#include "capture/freeze.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/fault.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "target/cgroup.h"
#include "target/stat.h"

#define TICK_US 1000
#define LOOK_NS (200 * NSEC_PER_MSEC)

static void on_tick(int signal)
{
	(void)signal;
}

int freeze_start_ticks(void)
{
	const struct itimerval ticking = {{.tv_usec = TICK_US}, {.tv_usec = TICK_US}};
	const struct sigaction act = {.sa_handler = on_tick}; /* no SA_RESTART: waits are broken */
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	if (sigaction(SIGALRM, &act, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &alarm, NULL) < 0 ||
		setitimer(ITIMER_REAL, &ticking, NULL) < 0)
		return -errno;
	return 0;
}

void freeze_stop_ticks(void)
{
	const struct itimerval off = {};

	setitimer(ITIMER_REAL, &off, NULL);
}

int freeze_wait(pid_t tid, uint64_t deadline_ns, int *status)
{
	for (;;) {
		if (waitpid(tid, status, __WALL) == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (errno != EINTR)
			return errno == ECHILD ? -ESRCH : -errno;
		if (clock_now_ns(CLOCK_MONOTONIC) >= deadline_ns)
			return -ETIMEDOUT;
	}
}

static bool is_frozen(pid_t tid)
{
	_cleanup_close_ int procfd = -1;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", tid);
	procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return procfd >= 0 && cgroup_frozen(CGROUP_ROOT, procfd) != 0;
}

int freeze_await(pid_t tid, int *status)
{
	int r;

	do {
		r = freeze_wait(tid, clock_now_ns(CLOCK_MONOTONIC) + LOOK_NS, status);
	} while (r == -ETIMEDOUT && !is_frozen(tid));
	return r;
}

static int compare_tids(const void *a, const void *b)
{
	const struct frozen_thread *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

static int add(struct freezer *f, pid_t tid)
{
	if (f->n == f->room) {
		size_t want = f->room ? f->room * 2 : 64;
		struct frozen_thread *v = reallocarray(f->v, want, sizeof(*v));

		if (!v)
			return -ENOMEM;
		f->v = v;
		f->room = want;
	}
	f->v[f->n++] = (struct frozen_thread){.tid = tid};
	return 0;
}

/* "Key:\tNUMBER" of status, or -1. */
static long status_number(const char *status, const char *key)
{
	const char *line = strstr(status, key);

	return line ? strtol(line + strlen(key), NULL, 10) : -1;
}

/* Why a thread could not be seized: 0 when that is no loss. */
static int explain(struct freezer *f, pid_t tid, int error)
{
	_cleanup_close_ int taskfd = process_open_task(f->process, tid);
	_cleanup_free_ char *status = NULL;
	const char *state;
	long tracer;

	if (taskfd < 0 || io_read_file_at(taskfd, "status", 65536, &status, NULL) < 0)
		return 0; /* ended meanwhile */
	state = strstr(status, "\nState:\t");
	if (state && (state[8] == 'Z' || state[8] == 'X'))
		return 0;
	tracer = status_number(status, "\nTracerPid:\t");
	if (tracer == getpid())
		return 0;
	if (tracer > 0)
		snprintf(f->reason, sizeof(f->reason), "thread %d is traced by process %ld", tid,
			tracer);
	else
		snprintf(f->reason, sizeof(f->reason), "thread %d cannot be traced: %s", tid,
			strerror(error));
	return -error;
}

static int seize(struct freezer *f, pid_t tid)
{
	int r;

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0) {
		r = errno;
		return r == ESRCH ? 0 : explain(f, tid, r);
	}
	return add(f, tid);
}

/* Seizes the threads that are not among the first KNOWN, which are sorted. *SEEN counts those of
 * the first KNOWN that are the process' own. */
static int seize_new(struct freezer *f, size_t known, size_t *seen)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int e = io_open_dir_at(f->process->procfd, "task", &dir);
	struct dirent *entry;

	if (e < 0)
		return e == -ENOENT ? -ESRCH : e;
	while ((entry = readdir(dir)) != NULL) {
		struct frozen_thread key = {.tid = (pid_t)strtol(entry->d_name, NULL, 10)};
		int r;

		if (key.tid <= 0)
			continue;
		if (known && bsearch(&key, f->v, known, sizeof(key), compare_tids)) {
			(*seen)++;
			continue;
		}
		r = seize(f, key.tid);
		if (r < 0)
			return r;
	}
	return 0;
}

static void explain_timeout(struct freezer *f, pid_t tid)
{
	_cleanup_close_ int taskfd = process_open_task(f->process, tid);
	_cleanup_free_ char *wchan = NULL;
	struct stat_line stat;

	if (taskfd < 0 || stat_read(taskfd, &stat) < 0)
		return;
	if (io_read_file_at(taskfd, "wchan", 128, &wchan, NULL) < 0)
		wchan = NULL;
	snprintf(f->reason, sizeof(f->reason),
		"thread %d did not stop in time: it is in state %c%s%s", tid, stat.state,
		wchan && *wchan && *wchan != '0' ? ", in " : "",
		wchan && *wchan && *wchan != '0' ? wchan : "");
}

/* Waits for the event stop that PTRACE_INTERRUPT asked for. Signals that were on their way are
 * delivered: the stop comes behind them. */
static int wait_for_stop(struct freezer *f, struct frozen_thread *t)
{
	int status, r;

	for (;;) {
		r = freeze_wait(t->tid, f->deadline_ns, &status);
		if (r == -ETIMEDOUT)
			explain_timeout(f, t->tid);
		if (r < 0)
			return r == -ESRCH ? 0 : r;
		if (status >> 16 == PTRACE_EVENT_STOP)
			break;
		if (ptrace(PTRACE_CONT, t->tid, NULL, status >> 16 ? 0 : WSTOPSIG(status)) < 0)
			return errno == ESRCH ? 0 : -errno;
	}
	t->stopped = true;
	t->group_stop = WSTOPSIG(status) != SIGTRAP;
	return 0;
}

/* Stops those from FIRST on, and drops those that ended instead. */
static int stop_from(struct freezer *f, size_t first)
{
	size_t kept = first;
	int r = 0;

	for (size_t i = first; i < f->n; i++)
		ptrace(PTRACE_INTERRUPT, f->v[i].tid, NULL, NULL);
	/* The last one first: by then the others have mostly stopped, and need not be slept for. */
	for (size_t i = f->n; r == 0 && i-- > first;)
		r = wait_for_stop(f, &f->v[i]);
	for (size_t i = first; r == 0 && i < f->n; i++)
		if (f->v[i].stopped)
			f->v[kept++] = f->v[i];
	if (r < 0)
		return r;
	f->n = kept;
	qsort(f->v, f->n, sizeof(*f->v), compare_tids);
	return 0;
}

static int begin(struct freezer *f, const struct process *p, uint64_t deadline_ns)
{
	*f = (struct freezer){.process = p, .deadline_ns = deadline_ns};
	return freeze_start_ticks();
}

static int conclude(struct freezer *f, int r)
{
	freeze_stop_ticks();
	if (r < 0 && r != -ESRCH && !f->reason[0])
		snprintf(f->reason, sizeof(f->reason), "the process could not be stopped: %s",
			strerror(-r));
	return r == 0 && f->n == 0 ? -ESRCH : r;
}

/* A thread that started behind the list's end shows in the next one. Once a list has nothing new
 * and all have stopped, there is nobody left to start another. */
int freeze_all(struct freezer *f, const struct process *p, uint64_t deadline_ns)
{
	size_t known = 0;
	int r = begin(f, p, deadline_ns);

	while (r == 0) {
		size_t seen = 0;

		r = seize_new(f, known, &seen);
		fault_point("freeze.seized");
		/* They were stopped by number; only now is it sure whose they are. */
		if (r == 0 && seen < known)
			r = -ESRCH;
		if (r < 0 || f->n == known)
			break;
		if (!f->began_ns)
			f->began_ns = clock_now_ns(CLOCK_MONOTONIC);
		r = stop_from(f, known);
		fault_point("freeze.stopped");
		known = f->n;
		if (r == 0 && clock_now_ns(CLOCK_MONOTONIC) >= deadline_ns) {
			r = -ETIMEDOUT;
			snprintf(f->reason, sizeof(f->reason),
				"it starts threads faster than they can be stopped");
		}
	}
	return conclude(f, r);
}

int freeze_one(struct freezer *f, const struct process *p, pid_t tid, uint64_t deadline_ns)
{
	int r = begin(f, p, deadline_ns);

	if (r == 0)
		r = seize(f, tid);
	f->began_ns = clock_now_ns(CLOCK_MONOTONIC);
	if (r == 0)
		r = stop_from(f, 0);
	return conclude(f, r);
}

void freeze_release(struct freezer *f)
{
	for (size_t i = 0; i < f->n; i++)
		ptrace(PTRACE_DETACH, f->v[i].tid, NULL, NULL);
	f->n = 0;
}

void freeze_free(struct freezer *f)
{
	free(f->v);
	f->v = NULL;
	f->n = f->room = 0;
}
