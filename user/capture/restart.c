/* SPDX-License-Identifier: MIT */
#include "capture/restart.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

#define LAG_ROUNDS     3
#define ERESTARTNOHAND 514 /* include/linux/errno.h: again, unless a handler runs */

/* Calls that the kernel ends with a plain EINTR when anything wakes them, and that did nothing yet
 * when they return it. close() is not among them: its descriptor is gone. */
static const struct {
	long nr;
	int timeout; /* argument that is a timeout in milliseconds, -1: none in a register */
} broken[] = {
	{SYS_epoll_wait, 3},
	{SYS_epoll_pwait, 3},
#ifdef SYS_epoll_pwait2
	{SYS_epoll_pwait2, -1},
#else
	{441, -1},
#endif
	{SYS_semop, -1},
	{SYS_semtimedop, -1},
	{SYS_rt_sigtimedwait, -1},
	{SYS_io_getevents, -1},
	{SYS_io_pgetevents, -1},
	{426 /* io_uring_enter */, -1},
	{SYS_recvfrom, -1},
	{SYS_recvmsg, -1},
	{SYS_recvmmsg, -1},
	{SYS_sendto, -1},
	{SYS_sendmsg, -1},
	{SYS_sendmmsg, -1},
	{SYS_accept, -1},
	{SYS_accept4, -1},
	{SYS_connect, -1},
	{SYS_read, -1},
	{SYS_readv, -1},
	{SYS_write, -1},
	{SYS_writev, -1},
};

static int find_call(long nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		if (broken[i].nr == nr)
			return (int)i;
	return -1;
}

static int timeout_argument(long nr)
{
	int i = find_call(nr);

	return i < 0 ? -1 : broken[i].timeout;
}

/* "se.exec_start : 3016123.938385", milliseconds of the scheduler's clock. */
static uint64_t read_exec_start(int taskfd)
{
	_cleanup_free_ char *text = NULL;
	const char *line, *colon;
	uint64_t ms, ns;

	if (io_read_file_at(taskfd, "sched", 65536, &text, NULL) < 0)
		return 0;
	line = strstr(text, "se.exec_start");
	colon = line ? strchr(line, ':') : NULL;
	if (!colon || sscanf(colon + 1, "%" SCNu64 ".%" SCNu64, &ms, &ns) != 2)
		return 0;
	return ms * NSEC_PER_MSEC + ns;
}

/* Reads how often a thread went to sleep; false where the kernel does not say. */
static bool read_sleeps(int taskfd, uint64_t *out)
{
	_cleanup_free_ char *text = NULL;
	const char *line;

	if (io_read_file_at(taskfd, "status", 65536, &text, NULL) < 0)
		return false;
	line = strstr(text, "\nvoluntary_ctxt_switches:");
	return line && sscanf(line, "\nvoluntary_ctxt_switches: %" SCNu64, out) == 1;
}

static int last_cpu(int taskfd)
{
	_cleanup_free_ char *text = NULL;
	const char *at;

	if (io_read_file_at(taskfd, "stat", 4096, &text, NULL) < 0)
		return -1;
	at = strrchr(text, ')');
	/* Field 39: from the ')' on, it follows the 37th blank. */
	for (int i = 0; at && i < 37; i++)
		at = strchr(at + 1, ' ');
	return at ? atoi(at + 1) : -1;
}

/* The scheduler's clock runs apart on each CPU (it leaves out interrupts): compared with the
 * monotonic one on that CPU, by giving it up and looking at the stamp that this left on us. The
 * stamp is older than the time that is read behind it: the lag is never too small, so that no call
 * ends early; that it is not too large either, by a preemption, is what the rounds are for. */
static int64_t scheduler_lag(int cpu)
{
	_cleanup_close_ int self = open("/proc/thread-self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cpu_set_t before, only;
	int64_t least = INT64_MAX;

	CPU_ZERO(&only);
	if (self < 0 || cpu < 0 || cpu >= CPU_SETSIZE ||
		sched_getaffinity(0, sizeof(before), &before) < 0)
		return INT64_MAX;
	CPU_SET(cpu, &only);
	if (sched_setaffinity(0, sizeof(only), &only) < 0)
		return INT64_MAX;
	for (int i = 0; i < LAG_ROUNDS; i++) {
		uint64_t stamp, now;
		int64_t lag;

		sched_yield();
		stamp = read_exec_start(self);
		now = clock_now_ns(CLOCK_MONOTONIC);
		lag = (int64_t)(now - stamp); /* negative where the scheduler's clock is ahead */
		if (stamp && lag < least)
			least = lag;
	}
	sched_setaffinity(0, sizeof(before), &before);
	return least;
}

static void look_at_start(struct restart_look *look, int taskfd)
{
	uint64_t stamp = read_exec_start(taskfd), began;
	int64_t lag;

	if (!stamp)
		return;
	lag = scheduler_lag(last_cpu(taskfd));
	began = stamp + (uint64_t)lag;
	if (lag != INT64_MAX && began <= clock_now_ns(CLOCK_MONOTONIC))
		look->began_ns = began;
}

static int look_at_thread(const struct process *p, pid_t tid, struct restart_looks *out)
{
	_cleanup_close_ int taskfd = process_open_task(p, tid);
	_cleanup_free_ char *text = NULL;
	struct restart_look look = {.tid = tid};
	int timeout;

	/* "running" or "NR 0xARG …"; a thread that has ended, or a kernel without the file, is no
	 * loss: its call starts again in full. */
	if (taskfd < 0 || io_read_file_at(taskfd, "syscall", 512, &text, NULL) < 0 ||
		sscanf(text,
			"%ld %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64,
			&look.nr, &look.args[0], &look.args[1], &look.args[2], &look.args[3],
			&look.args[4], &look.args[5]) != 7)
		return 0;
	timeout = timeout_argument(look.nr);
	if (timeout < 0 || (int)look.args[timeout] <= 0)
		return 0;
	/* Counted first: a call that ends meanwhile is then found out. */
	if (read_sleeps(taskfd, &look.sleeps))
		look_at_start(&look, taskfd);
	if (out->n == out->room) {
		size_t want = out->room ? out->room * 2 : 16;
		struct restart_look *v = reallocarray(out->v, want, sizeof(*v));

		if (!v)
			return -ENOMEM;
		out->v = v;
		out->room = want;
	}
	out->v[out->n++] = look;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct restart_look *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

int restart_look(const struct process *p, pid_t only, struct restart_looks *out)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int r = io_open_dir_at(p->procfd, "task", &dir);
	struct dirent *entry;

	*out = (struct restart_looks){0};
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	while (r == 0 && (entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid > 0 && (!only || tid == only))
			r = look_at_thread(p, tid, out);
	}
	if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), compare);
	return r;
}

void restart_check(struct restart_looks *l, const struct process *p, pid_t tid)
{
	const struct restart_look key = {.tid = tid};
	struct restart_look *look = l->n ? bsearch(&key, l->v, l->n, sizeof(key), compare) : NULL;
	_cleanup_close_ int taskfd = look ? process_open_task(p, tid) : -1;
	uint64_t sleeps;

	/* One more is the stop itself. */
	if (look && (taskfd < 0 || !read_sleeps(taskfd, &sleeps) || sleeps > look->sleeps + 1))
		look->began_ns = 0;
}

void restart_free(struct restart_looks *l)
{
	free(l->v);
	*l = (struct restart_looks){0};
}

bool restart_is_broken(const struct user_regs_struct *regs)
{
	return (int64_t)regs->orig_rax >= 0 && (int64_t)regs->rax == -EINTR &&
	       find_call((long)regs->orig_rax) >= 0;
}

static unsigned long long *argument(struct user_regs_struct *regs, int i)
{
	unsigned long long *const v[] = {
		&regs->rdi, &regs->rsi, &regs->rdx, &regs->r10, &regs->r8, &regs->r9};

	return v[i];
}

bool restart_fix(struct user_regs_struct *regs, const struct restart_looks *looks, pid_t tid,
	uint64_t now_ns)
{
	const struct restart_look key = {.tid = tid}, *look = NULL;
	int timeout = timeout_argument((long)regs->orig_rax);
	uint64_t slept_ms, left;

	if (!restart_is_broken(regs))
		return false;
	regs->rax = (unsigned long long)-ERESTARTNOHAND;
	if (looks && looks->n)
		look = bsearch(&key, looks->v, looks->n, sizeof(key), compare);
	if (!look || !look->began_ns || timeout < 0 || look->nr != (long)regs->orig_rax)
		return true;
	/* Another call than the one that was looked at began later: it has slept for next to
	 * nothing. */
	for (int i = 0; i < 4; i++)
		if (*argument(regs, i) != look->args[i])
			return true;
	slept_ms = (now_ns - look->began_ns) / NSEC_PER_MSEC;
	left = (uint32_t)*argument(regs, timeout);
	*argument(regs, timeout) = slept_ms < left ? left - slept_ms : 0;
	return true;
}
