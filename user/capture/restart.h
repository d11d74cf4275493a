/* SPDX-License-Identifier: MIT */
/* System calls that a stop breaks with EINTR though no handler ran (epoll_wait, semtimedop, recv
 * with a socket timeout …) are made to start again, for the time that was left. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "target/process.h"

struct restart_look { /* a thread that sat in a call with a timeout in a register */
	pid_t tid;
	long nr;
	uint64_t args[6];
	uint64_t began_ns; /* CLOCK_MONOTONIC: it went to sleep; 0: not known */
	uint64_t sleeps;   /* how often it had given up its CPU by itself */
};

struct restart_looks {
	struct restart_look *v; /* ascending by tid */
	size_t n, room;
};

/* Looks at all threads (or at ONLY) before they are stopped: the kernel forgets when they fell
 * asleep. */
int restart_look(const struct process *p, pid_t only, struct restart_looks *out);
/* The stopped thread TID, whose registers were read, may have gone from the call that was looked at
 * to another like it: then nothing is known of when that one began. */
void restart_check(struct restart_looks *l, const struct process *p, pid_t tid);
void restart_free(struct restart_looks *l);

/* Whether a stop broke the call that REGS return from, and it can be made again. Pure. */
bool restart_is_broken(const struct user_regs_struct *regs);
/* Makes a broken call start again, its timeout shortened by what was slept until NOW_NS (LOOKS may
 * be NULL). False: nothing was to be done. Pure. */
bool restart_fix(struct user_regs_struct *regs, const struct restart_looks *looks, pid_t tid,
	uint64_t now_ns);
