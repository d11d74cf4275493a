/* SPDX-License-Identifier: MIT */
/* Stands a process still: every thread of it in a ptrace event stop, from which it goes on by
 * itself when the tracer dies, whatever the tracer was doing. So giving up is always the same:
 * the process that called these ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/process.h"

#define FREEZE_REASON_MAX 256

struct frozen_thread {
	pid_t tid;
	bool stopped;	 /* in an event stop */
	bool group_stop; /* it had been stopped by SIGSTOP or the like, and stays so */
};

struct freezer {
	const struct process *process; /* borrowed */
	struct frozen_thread *v;       /* those that stopped; ascending by tid */
	size_t n, room;
	uint64_t began_ns;		/* CLOCK_MONOTONIC: the first thread was asked to stop */
	uint64_t deadline_ns;		/* CLOCK_MONOTONIC: all must have stopped */
	char reason[FREEZE_REASON_MAX]; /* why it failed, a sentence */
};

/* Stops every thread. 0: V has all of them; -ESRCH: the process is gone; -ETIMEDOUT, -EPERM …:
 * f->reason says why, some threads may stand still until the caller ends. */
int freeze_all(struct freezer *f, const struct process *p, uint64_t deadline_ns);
/* The same for one thread alone. */
int freeze_one(struct freezer *f, const struct process *p, pid_t tid, uint64_t deadline_ns);
/* Waits for the next stop of the stopped thread or clone TID after it was let run, until
 * DEADLINE_NS, with *STATUS as of waitpid(). -ESRCH: it has ended. -ETIMEDOUT. */
int freeze_wait(pid_t tid, uint64_t deadline_ns, int *status);
/* The same for as long as it takes; -ETIMEDOUT only where its cgroup was frozen meanwhile, so that
 * it takes until that is thawed. */
int freeze_await(pid_t tid, int *status);
/* Lets all go. */
void freeze_release(struct freezer *f);
void freeze_free(struct freezer *f);
/* Blocking waits come back each millisecond from now on, to look at their deadline. */
int freeze_start_ticks(void);
void freeze_stop_ticks(void);
