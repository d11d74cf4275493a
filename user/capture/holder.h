/* SPDX-License-Identifier: MIT */
/* The process that stops another, takes its registers, clones it, and lets it go: as small as can
 * be, without a filter of its own (only such a tracer may suspend the seccomp of another), and
 * killed at any moment without harm to anybody. Whoever writes the core talks to it by a socket. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capture/freeze.h"
#include "capture/limits.h"
#include "capture/thread_state.h"
#include "rules/decision.h"
#include "target/maps.h"
#include "target/process.h"

enum hold_way {
	HOLD_MOMENT, /* registers and stacks are taken, and it goes on */
	HOLD_FORK,   /* a clone is made, and it goes on */
	HOLD_STOP,   /* it stands until hold_release() */
};

struct hold_request {
	const struct process *process;
	int taskfd; /* /proc/PID/task/TID of a thread that lives: the leader may be gone */
	const struct maps *maps; /* as they were before */
	enum hold_way way;
	enum hold_way otherwise; /* HOLD_FORK: when it cannot be cloned; HOLD_FORK itself: fail */
	const char *no_fork;	 /* why it must not be cloned; NULL: it may */
	bool seccomp;		 /* it has a filter */
	uint64_t freeze_ns;	 /* its threads must stop within this time */
	uint64_t max_pause_ns;	 /* HOLD_STOP ends then; 0: no limit */
	int stacksfd; /* memfd that takes the stacks, each at its own address; -1: none are taken */
	const struct limits_size *size; /* of the process, to see when the clone is too much */
};

/* Shared memory: the holder has let the process go, so that what is read now is another moment's.
 */
struct hold_shared {
	int released;
};

struct hold {
	pid_t pid; /* of the holder */
	int sock;
	struct hold_shared *shared;
	enum hold_way way;  /* in fact */
	pid_t clone;	    /* HOLD_FORK: the clone's id, its memory is the snapshot */
	uint64_t frozen_ns; /* CLOCK_MONOTONIC */
	uint64_t pause_ns;  /* the process stood still this long; HOLD_STOP: after the end */
	int dumpable;	    /* PR_GET_DUMPABLE, or -1 where it is not known */
	bool reaped;	    /* after the end: nothing of the clone is left */
	bool broken_off;    /* after the end: the limit had passed */
	struct thread_states states;
	char reason[FREEZE_REASON_MAX];	 /* why there is no clone, or why it failed; "" */
	char dropped[FREEZE_REASON_MAX]; /* after the end: why the clone was given up before; "" */
};

/* Starts a holder. 0, or -errno with out->reason: -ESRCH: the process is gone. */
int hold_start(const struct hold_request *req, struct hold *out);
/* HOLD_STOP: the process may go on. */
int hold_release(struct hold *h);
/* Ends the clone, and the holder. May be called again. */
int hold_end(struct hold *h);
void hold_free(struct hold *h);
