/* SPDX-License-Identifier: MIT */
/* One thread's general registers, in the layout of ptrace's PTRACE_GETREGSET NT_PRSTATUS. */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct thread_registers {
	pid_t tid; /* in coretrap's PID namespace where known, else as in the kernel's note */
	struct user_regs_struct regs;
};

static inline uint64_t registers_ip(const struct thread_registers *t)
{
	return t->regs.rip;
}

static inline uint64_t registers_sp(const struct thread_registers *t)
{
	return t->regs.rsp;
}
