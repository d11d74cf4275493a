/* SPDX-License-Identifier: MIT */
#include "capture/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/fault.h"
#include "capture/restart.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "target/cgroup.h"

#define REAP_FREEZE_NS (200 * NSEC_PER_MSEC)
#define ERESTARTNOINTR 513 /* include/linux/errno.h */

/* The lowest stack pointer in the main stack; 0: none is there. */
static uint64_t lowest_sp(const struct thread_states *states, const struct inject_site *site)
{
	const struct thread_state *t = NULL;
	uint64_t lowest = 0;

	while ((t = thread_states_next(states, t)) != NULL) {
		uint64_t sp = t->regs.rsp;

		if (sp >= site->stack_low && sp < site->stack_high && (!lowest || sp < lowest))
			lowest = sp;
	}
	return lowest;
}

/* A thread in a system call before any that computes; none in a restartable sequence. */
static const struct thread_state *choose(const struct thread_states *states, int memfd)
{
	const struct thread_state *t = NULL, *second = NULL;

	while ((t = thread_states_next(states, t)) != NULL) {
		if (inject_in_rseq(t->tid, memfd, &t->regs))
			continue;
		if (inject_in_call(&t->regs))
			return t;
		if (!second)
			second = t;
	}
	return second;
}

static int prepare(struct injection *in, const struct thread_states *states)
{
	const struct thread_state *t = choose(states, in->memfd);
	struct user_regs_struct regs;

	if (!t)
		return -EBUSY;
	/* As they are now: a broken call was already set to start again. */
	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs) < 0)
		return -errno;
	return inject_prepare(in, t, &regs, lowest_sp(states, in->site));
}

static const char *why(int error)
{
	switch (error) {
	case -EBUSY:
		return "every thread is in a restartable sequence";
	case -ENOSPC:
		return "no unused bytes on the main stack";
	case -EPERM:
		return "seccomp could not be suspended";
	case -EAGAIN:
		return "clone was refused (EAGAIN: pids.max or RLIMIT_NPROC)";
	case -ENOMEM:
		return "clone was refused (ENOMEM)";
	case -ERESTARTNOINTR: /* stopped meanwhile, or its cgroup frozen */
		return "clone was interrupted";
	case -ETIMEDOUT:
		return "the clone was not made in time";
	default:
		return strerror(-error);
	}
}

int clone_take(struct freezer *f, const struct thread_states *states, int memfd,
	const struct inject_site *site, bool seccomp, struct clone *out, char *reason)
{
	struct clone c = {
		.injection = {
			.process = f->process, .site = site, .memfd = memfd, .seccomp = seccomp}};
	int64_t result = 0;
	int r = inject_check_site(memfd, site) ? prepare(&c.injection, states) : -EFAULT;

	if (r == 0) {
		/* CLONE_FILES: no copied descriptor keeps a socket, a pipe or a lock of the
		 * process. Exit signal 0: its death is no SIGCHLD. */
		const uint64_t args[6] = {CLONE_FILES, c.injection.frames.exits};

		r = inject_call(&c.injection, SYS_clone, args, &c.pid, &result);
		/* A thread that did not come back still needs the frames. */
		if (r == 0 && inject_restore_bytes(&c.injection, memfd) < 0)
			r = -EPROTO;
		fault_point("clone.bytes");
		if (r == 0 && result < 0)
			r = (int)result;
		else if (r == 0 && c.pid == 0)
			r = -EPROTO;
		c.ns_pid = (pid_t)result;
	}
	if (r < 0) {
		snprintf(reason, FREEZE_REASON_MAX, "%s", why(r));
		clone_kill(&c);
		clone_free(&c);
		return r;
	}
	*out = c;
	return 0;
}

/* A system call in the clone, which stands in a stop and goes no further. */
static int call(struct clone *c, long nr, const uint64_t args[6], int64_t *result)
{
	struct user_regs_struct regs;
	int status, r;

	if (ptrace(PTRACE_GETREGS, c->pid, NULL, &regs) < 0)
		return -errno;
	inject_set_call(&regs, nr, args, c->injection.frames.exits);
	regs.rip = c->injection.site->gadget;
	regs.rax = (unsigned long long)nr;
	regs.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, c->pid, NULL, &regs) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		if (ptrace(PTRACE_SYSCALL, c->pid, NULL, NULL) < 0)
			return -errno;
		r = freeze_await(c->pid, &status);
		if (r < 0)
			return r;
		fault_point("clone.step");
		if (status >> 8 != (SIGTRAP | 0x80))
			return -EPROTO;
	}
	if (ptrace(PTRACE_GETREGS, c->pid, NULL, &regs) < 0)
		return -errno;
	*result = (int64_t)regs.rax;
	return 0;
}

int clone_settle(struct clone *c, int memfd)
{
	const uint64_t all[6] = {0, ~0U, CLOSE_RANGE_UNSHARE}, dumpable[6] = {PR_GET_DUMPABLE};
	int64_t result = 0;
	int r = freeze_start_ticks();

	if (r == 0)
		r = call(c, SYS_close_range, all, &result);
	fault_point("clone.closed");
	if (r == 0 && result < 0)
		r = (int)result;
	if (r == 0)
		r = call(c, SYS_prctl, dumpable, &result);
	freeze_stop_ticks();
	if (r == 0)
		r = (int)result;
	/* It never runs again: the frames can go, and the image is what the process has. */
	if (r >= 0 && inject_restore_bytes(&c->injection, memfd) < 0)
		return -EFAULT;
	fault_point("clone.settled");
	return r;
}

void clone_kill(struct clone *c)
{
	int status;

	if (c->pid <= 0)
		return;
	kill(c->pid, SIGKILL);
	freeze_start_ticks();
	/* A stop that was not waited for yet may come before the end. */
	while (freeze_await(c->pid, &status) == 0)
		;
	freeze_stop_ticks();
	c->pid = 0;
}

void clone_free(struct clone *c)
{
	inject_free(&c->injection);
}

/* Where that cannot be told, as if it had. */
static bool has_filter(const struct process *p, pid_t tid)
{
	_cleanup_close_ int taskfd = process_open_task(p, tid);
	_cleanup_free_ char *status = NULL;

	return taskfd < 0 || io_read_file_at(taskfd, "status", 65536, &status, NULL) < 0 ||
	       !strstr(status, "\nSeccomp:\t0\n");
}

static int reap_through(const struct process *p, const struct inject_site *site, int memfd,
	struct restart_looks *looks, pid_t tid, pid_t ns_pid)
{
	_cleanup_thread_states_ struct thread_states states = {0};
	_cleanup_injection_ struct injection in = {
		.process = p, .site = site, .memfd = memfd, .seccomp = has_filter(p, tid)};
	const uint64_t args[6] = {(uint64_t)ns_pid, 0, __WALL | WNOHANG, 0};
	struct user_regs_struct regs;
	int64_t result = 0;
	int r = thread_states_add(&states, tid);

	if (r == 0)
		r = ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0 ? -errno : 0;
	if (r == 0 && restart_is_broken(&regs))
		restart_check(looks, p, tid);
	if (r == 0 && restart_fix(&regs, looks, tid, clock_now_ns(CLOCK_MONOTONIC)))
		r = ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0 ? -errno : 0;
	if (r == 0 && inject_in_rseq(tid, memfd, &regs))
		r = -EBUSY;
	if (r < 0)
		return r;
	r = inject_prepare(&in, thread_states_next(&states, NULL), &regs, lowest_sp(&states, site));
	if (r < 0)
		return r;
	r = inject_call(&in, SYS_wait4, args, NULL, &result);
	if (r < 0)
		return r;
	inject_restore_bytes(&in, memfd);
	return result == ns_pid ? 0 : result < 0 ? (int)result : -EAGAIN;
}

/* Through the main thread: while it stands, nobody moves on the main stack. Where that thread has
 * ended, nobody does at all. */
int clone_reap(const struct process *p, pid_t ns_pid, uint64_t *pause_ns)
{
	_cleanup_(freeze_free) struct freezer f = {0};
	_cleanup_(restart_free) struct restart_looks looks = {0};
	pid_t tid = p->pid;
	_cleanup_close_ int taskfd = process_open_live_task(p, &tid), memfd = -1;
	_cleanup_maps_ struct maps maps = {0};
	struct inject_site site;
	const char *what;
	int r = taskfd < 0 ? taskfd : maps_read(taskfd, false, &maps);

	if (r == 0 && cgroup_frozen(CGROUP_ROOT, taskfd))
		r = -EAGAIN; /* the call would not be made before it is thawed */
	if (r < 0)
		return r;
	memfd = openat(taskfd, "mem", O_RDWR | O_CLOEXEC);
	if (memfd < 0)
		return -errno;
	r = inject_find_site(memfd, &maps, &site, &what);
	if (r == 0)
		r = restart_look(p, tid, &looks);
	if (r == 0)
		r = freeze_one(&f, p, tid, clock_now_ns(CLOCK_MONOTONIC) + REAP_FREEZE_NS);
	if (r == 0 && freeze_start_ticks() == 0) {
		r = reap_through(p, &site, memfd, &looks, tid, ns_pid);
		freeze_stop_ticks();
	}
	freeze_release(&f);
	*pause_ns = f.began_ns ? clock_now_ns(CLOCK_MONOTONIC) - f.began_ns : 0;
	return r;
}
