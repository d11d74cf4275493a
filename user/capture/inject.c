/* SPDX-License-Identifier: MIT */
#include "capture/inject.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/fault.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define STEP_NS		(500 * NSEC_PER_MSEC)
#define STACK_MARGIN	16384 /* between the frames and the lowest stack pointer */
#define SYSCALL_STOP	(SIGTRAP | 0x80)
#define SUSPEND_SECCOMP (1 << 21) /* PTRACE_O_SUSPEND_SECCOMP */
#define GET_RSEQ	0x420f	  /* PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13 */

struct rseq_configuration { /* struct ptrace_rseq_configuration */
	uint64_t pointer;
	uint32_t size, signature, flags, pad;
};

bool inject_in_rseq(pid_t tid, int memfd, const struct user_regs_struct *regs)
{
	struct rseq_configuration c = {0};
	struct { /* struct rseq_cs */
		uint32_t version, flags;
		uint64_t start, length, abort;
	} section;
	uint64_t pointer;

	if (ptrace((enum __ptrace_request)GET_RSEQ, tid, sizeof(c), &c) <= 0 || !c.pointer)
		return false;
	/* rseq_cs is the third field of struct rseq, 8 bytes in. */
	if (pread(memfd, &pointer, sizeof(pointer), (off_t)(c.pointer + 8)) != sizeof(pointer) ||
		!pointer)
		return false;
	if (pread(memfd, &section, sizeof(section), (off_t)pointer) != sizeof(section))
		return true;
	return regs->rip - section.start < section.length;
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

int inject_prepare(struct injection *in, const struct thread_state *t,
	const struct user_regs_struct *regs, uint64_t lowest)
{
	const struct inject_state state = {.regs = *regs,
		.mask = t->blocked,
		.xstate = thread_state_xstate(t),
		.xstate_size = t->xstate_size};
	uint64_t base = (in->site->stack_low + 63) & ~63ULL;
	size_t size;
	int r;

	in->tid = t->tid;
	in->regs = *regs;
	in->mask = t->blocked;
	r = inject_build_frames(in->site, &state, base, &in->frames);
	if (r < 0)
		return r;
	size = in->frames.size;
	if (lowest && lowest < base + size + STACK_MARGIN)
		return -ENOSPC;
	in->saved = malloc(size);
	if (!in->saved)
		return -ENOMEM;
	if (pread(in->memfd, in->saved, size, (off_t)base) != (ssize_t)size)
		return -EFAULT;
	/* Where no thread stands on that stack now, one may be on it below a signal handler. */
	if (!lowest && !all_zero(in->saved, size))
		return -ENOSPC;
	if (pwrite(in->memfd, in->frames.bytes, size, (off_t)base) != (ssize_t)size)
		return -EFAULT;
	fault_point("inject.frames");
	return 0;
}

int inject_restore_bytes(const struct injection *in, int memfd)
{
	ssize_t n = pwrite(memfd, in->saved, in->frames.size, (off_t)in->frames.base);

	return n == (ssize_t)in->frames.size ? 0 : -EFAULT;
}

static int set_regs(pid_t tid, struct user_regs_struct *regs)
{
	return ptrace(PTRACE_SETREGS, tid, NULL, regs) < 0 ? -errno : 0;
}

static int set_mask(pid_t tid, uint64_t mask)
{
	return ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask) < 0 ? -errno : 0;
}

/* Lets the thread run to its next stop that matters: *STATUS. LIMIT_NS 0: for as long as it takes.
 */
static int run(struct injection *in, enum __ptrace_request how, uint64_t limit_ns, int *status)
{
	const uint64_t deadline = clock_now_ns(CLOCK_MONOTONIC) + limit_ns;

	for (;;) {
		int r;

		if (ptrace(how, in->tid, NULL, NULL) < 0)
			return -errno;
		r = limit_ns ? freeze_wait(in->tid, deadline, status)
			     : freeze_await(in->tid, status);
		if (r < 0)
			return r;
		/* The one signal that cannot be blocked: taken now, sent again at the end. */
		if (*status >> 16 == 0 && WSTOPSIG(*status) == SIGSTOP)
			in->stopped_again = true;
		else if (*status >> 16 != PTRACE_EVENT_STOP || how == PTRACE_CONT)
			return 0;
	}
}

/* A filter might kill the process for our call. It may have been installed since we looked, so each
 * is suspended that can be. */
static int set_options(const struct injection *in, pid_t tid, long options)
{
	if (ptrace(PTRACE_SETOPTIONS, tid, NULL, options | SUSPEND_SECCOMP) == 0)
		return 0;
	/* It takes CAP_SYS_ADMIN, a kernel with CONFIG_CHECKPOINT_RESTORE, and no filter of ours.
	 */
	if (errno == ESRCH || in->seccomp)
		return -errno;
	return ptrace(PTRACE_SETOPTIONS, tid, NULL, options) < 0 ? -errno : 0;
}

/* The child's first act is to be tied to us: it must not outlive whoever watches it. */
static int take_child(const struct injection *in, pid_t *child)
{
	unsigned long message;
	int status, r;

	if (ptrace(PTRACE_GETEVENTMSG, in->tid, NULL, &message) < 0)
		return -errno;
	fault_point("inject.cloned");
	r = freeze_await((pid_t)message, &status);
	if (r < 0)
		return r;
	r = set_options(in, (pid_t)message, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
	if (r < 0)
		return r;
	fault_point("inject.tied");
	*child = (pid_t)message;
	return 0;
}

/* To the entry of the signal return, which is then made another call. */
static int enter(struct injection *in, long nr, const uint64_t args[6])
{
	struct user_regs_struct regs = in->regs;
	int status = 0, r;

	inject_set_start(&regs, in->site, &in->frames);
	r = set_regs(in->tid, &regs);
	fault_point("inject.start");
	if (r == 0)
		r = set_mask(in->tid, ~0ULL);
	fault_point("inject.mask");
	if (r == 0)
		r = run(in, PTRACE_SYSCALL, STEP_NS, &status);
	fault_point("inject.entry");
	if (r < 0)
		return r;
	if (status >> 8 != SYSCALL_STOP || ptrace(PTRACE_GETREGS, in->tid, NULL, &regs) < 0 ||
		(long)regs.orig_rax != SYS_rt_sigreturn)
		return -EPROTO;
	inject_set_call(&regs, nr, args, in->frames.own);
	r = set_regs(in->tid, &regs);
	fault_point("inject.call");
	return r;
}

/* Back to where it was: from the stop behind the call to an event stop with the old registers. Only
 * the second stop makes the kernel restart the call that had been interrupted. */
static int leave(struct injection *in)
{
	int status = 0, r;

	if (ptrace(PTRACE_INTERRUPT, in->tid, NULL, NULL) < 0)
		return -errno;
	fault_point("inject.interrupt");
	r = set_mask(in->tid, in->mask);
	fault_point("inject.unmask");
	if (r == 0)
		r = set_regs(in->tid, &in->regs);
	fault_point("inject.back");
	if (r == 0)
		r = run(in, PTRACE_CONT, STEP_NS, &status);
	fault_point("inject.stopped");
	if (r == 0 && in->stopped_again)
		syscall(SYS_tgkill, in->process->pid, in->tid, SIGSTOP);
	in->stopped_again = false;
	return r;
}

int inject_call(
	struct injection *in, long nr, const uint64_t args[6], pid_t *child, int64_t *result)
{
	long options = PTRACE_O_TRACESYSGOOD | (child ? PTRACE_O_TRACECLONE : 0);
	struct user_regs_struct regs;
	int status = 0, r;

	r = set_options(in, in->tid, options);
	if (r < 0)
		return r;
	r = enter(in, nr, args);
	/* From here on it takes as long as the kernel needs: nothing can break a clone off. */
	if (r == 0)
		r = run(in, PTRACE_SYSCALL, 0, &status);
	if (r == 0 && child && status >> 8 == (SIGTRAP | PTRACE_EVENT_CLONE << 8)) {
		r = take_child(in, child);
		if (r == 0)
			r = run(in, PTRACE_SYSCALL, 0, &status);
	}
	fault_point("inject.exit");
	if (r < 0)
		return r;
	if (status >> 8 != SYSCALL_STOP || ptrace(PTRACE_GETREGS, in->tid, NULL, &regs) < 0)
		return -EPROTO;
	*result = (int64_t)regs.rax;
	r = leave(in);
	if (r == 0 && ptrace(PTRACE_SETOPTIONS, in->tid, NULL, 0) < 0)
		r = -errno;
	return r;
}

void inject_free(struct injection *in)
{
	inject_frames_free(&in->frames);
	free(in->saved);
	in->saved = NULL;
}
