/* SPDX-License-Identifier: MIT */
/* Runs a system call in a stopped thread of another process, so that the thread is as it was
 * whether this succeeds, fails, or its caller is killed at any instant: before a register changes,
 * frames for a signal return lie in unused bytes of the stack, and the one instruction that the
 * thread would execute by itself is that return. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capture/freeze.h"
#include "capture/inject_site.h"
#include "capture/thread_state.h"
#include "target/process.h"

struct injection {
	const struct process *process;	/* borrowed */
	const struct inject_site *site; /* borrowed */
	pid_t tid;
	int memfd;		      /* borrowed: mem of the process, for reading and writing */
	struct user_regs_struct regs; /* to go on with */
	uint64_t mask;
	struct inject_frames frames;
	uint8_t *saved;	    /* what the frames lie on */
	bool seccomp;	    /* it has a filter, which must be suspended */
	bool stopped_again; /* a SIGSTOP came meanwhile, to be sent again */
};

/* Prepares thread T of the stopped process: REGS is what it goes on with. LOWEST is the lowest
 * stack pointer in the main stack, 0: none is known. Nothing of the thread has changed but bytes of
 * the stack that nobody uses. -ENOSPC: there are none. */
int inject_prepare(struct injection *in, const struct thread_state *t,
	const struct user_regs_struct *regs, uint64_t lowest);
/* Makes the call; *RESULT is what it returned. CHILD: the call clones, its id (in our PID
 * namespace) is put there, and it stands still, tied to the life of the caller; NULL: it does not
 * clone. -ESRCH: the thread has gone. After -ETIMEDOUT the caller must end, which restores the
 * thread. */
int inject_call(
	struct injection *in, long nr, const uint64_t args[6], pid_t *child, int64_t *result);
/* Takes the bytes of the stack back, in the memory behind MEMFD: the process' own, or its clone's.
 */
int inject_restore_bytes(const struct injection *in, int memfd);
void inject_free(struct injection *in);
#define _cleanup_injection_ __attribute__((cleanup(inject_free)))

/* True where REGS of thread TID lie in a restartable sequence, which a change of the instruction
 * pointer would break. */
bool inject_in_rseq(pid_t tid, int memfd, const struct user_regs_struct *regs);
