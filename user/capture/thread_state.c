/* SPDX-License-Identifier: MIT */
#include "capture/thread_state.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "lib/cleanup.h"

#define XSTATE_MAX	16384 /* AMX makes it 11 KiB */
#define PENDING_AT_ONCE 8
#define SW_RESERVED	464 /* where they begin: struct fxregs_state of the kernel */

static size_t aligned(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static int make_room(struct thread_states *s, size_t more)
{
	size_t want = s->room ? s->room : 1U << 16;
	char *bytes;

	if (s->room - s->size >= more)
		return 0;
	while (want - s->size < more)
		want *= 2;
	bytes = realloc(s->bytes, want);
	if (!bytes)
		return -ENOMEM;
	s->bytes = bytes;
	s->room = want;
	return 0;
}

int thread_states_reserve(struct thread_states *s, size_t threads)
{
	unsigned int a, xstate, c, d;
	size_t size;
	int r;

	if (!__get_cpuid_count(0xd, 0, &a, &xstate, &c, &d))
		xstate = sizeof(struct user_fpregs_struct);
	size = threads * (sizeof(struct thread_state) + aligned(xstate)) + XSTATE_MAX;
	r = make_room(s, size);
	if (r == 0)
		memset(s->bytes + s->size, 0, size);
	return r;
}

static int get_regset(pid_t tid, int type, void *data, size_t *size)
{
	struct iovec iov = {data, *size};

	if (ptrace(PTRACE_GETREGSET, tid, (void *)(intptr_t)type, &iov) < 0)
		return -errno;
	*size = iov.iov_len;
	return 0;
}

/* Signals of the thread's own queue: the kernel's pr_sigpend. */
static uint64_t pending_signals(pid_t tid)
{
	siginfo_t infos[PENDING_AT_ONCE];
	struct __ptrace_peeksiginfo_args args = {.nr = PENDING_AT_ONCE};
	uint64_t mask = 0;
	long n;

	while ((n = ptrace(PTRACE_PEEKSIGINFO, tid, &args, infos)) > 0) {
		for (long i = 0; i < n; i++)
			if (infos[i].si_signo >= 1 && infos[i].si_signo <= 64)
				mask |= 1ULL << (infos[i].si_signo - 1);
		args.off += (uint64_t)n;
	}
	return mask;
}

int thread_states_add(struct thread_states *s, pid_t tid)
{
	struct thread_state t = {.tid = tid};
	size_t size = sizeof(t.regs), fp_size = sizeof(t.fpregs), xstate_size = XSTATE_MAX;
	int r = make_room(s, sizeof(t) + XSTATE_MAX);
	char *xstate;

	if (r == 0)
		r = get_regset(tid, NT_PRSTATUS, &t.regs, &size);
	if (r < 0)
		return r;
	xstate = s->bytes + s->size + sizeof(t);
	if (size != sizeof(t.regs))
		return -EOPNOTSUPP;
	/* ENODEV: a processor without XSAVE. Else it begins with the older set, and one call less
	 * is made while all stand still. */
	r = get_regset(tid, NT_X86_XSTATE, xstate, &xstate_size);
	if (r < 0)
		xstate_size = 0;
	if (xstate_size >= sizeof(t.fpregs))
		memcpy(&t.fpregs, xstate, SW_RESERVED);
	else
		r = get_regset(tid, NT_PRFPREG, &t.fpregs, &fp_size);
	if (r < 0)
		return r;
	t.xstate_size = (uint32_t)xstate_size;
	t.pending = pending_signals(tid);
	if (ptrace(PTRACE_GETSIGMASK, tid, sizeof(t.blocked), &t.blocked) < 0)
		return -errno;
	memcpy(s->bytes + s->size, &t, sizeof(t));
	s->size += sizeof(t) + aligned(xstate_size);
	s->n++;
	return 0;
}

const struct thread_state *thread_states_next(
	const struct thread_states *s, const struct thread_state *at)
{
	size_t offset = 0;

	if (at)
		offset = (size_t)((const char *)at - s->bytes) + sizeof(*at) +
			 aligned(at->xstate_size);
	if (offset >= s->size)
		return NULL;
	return (const struct thread_state *)(s->bytes + offset);
}

int thread_states_check(const struct thread_states *s)
{
	size_t at = 0, n = 0;

	while (at < s->size) {
		struct thread_state t;

		if (s->size - at < sizeof(t))
			return -EINVAL;
		memcpy(&t, s->bytes + at, sizeof(t));
		if (t.xstate_size > XSTATE_MAX || s->size - at - sizeof(t) < aligned(t.xstate_size))
			return -EINVAL;
		at += sizeof(t) + aligned(t.xstate_size);
		n++;
	}
	return n == s->n && n > 0 ? 0 : -EINVAL;
}

void thread_states_free(struct thread_states *s)
{
	free(s->bytes);
	*s = (struct thread_states){0};
}
