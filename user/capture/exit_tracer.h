/* SPDX-License-Identifier: MIT */
/* Holds a process at its end, whatever brings that about, SIGKILL as well: every thread is seized
 * with PTRACE_O_TRACEEXIT and stops in do_exit(), its registers and the memory whole. Until then no
 * thread is stopped but for the signals it gets, which are passed on at once.
 *
 * The caller is a process of its own: it may end at any moment, and all threads go on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capture/freeze.h"
#include "capture/thread_state.h"
#include "rules/rule.h"
#include "target/process.h"

/* What whoever arms one is to be told. */
#define EXIT_TRACER_COST                                                                        \
	"no debugger can attach to it meanwhile, each signal it gets takes some 40 us longer, " \
	"and "                                                                                  \
	"its end waits for its core"

struct exit_thread {
	pid_t tid;
	bool held; /* in its exit stop; else let go from there */
};

struct exit_tracer {
	/* Set by the caller. */
	const struct process *process; /* borrowed */
	enum exit_wish wish;
	int code;	  /* EXIT_WISH_CODE */
	uint64_t ignored; /* mask: ends by these signals are somebody else's */
	/* Once exit_tracer_step() returned 1. */
	int status;	/* of the process, as of wait(2) */
	pid_t tid;	/* the thread that brought the end, the leader, or another */
	size_t missing; /* threads that have not come to their end, stuck in the kernel */
	struct thread_states states;
	/* Its own. */
	struct exit_thread *v;
	size_t n, room;
	uint64_t gathering_ns; /* CLOCK_MONOTONIC, since when threads are held; 0: none is */
	int leader_status;     /* of a leader that ended alone */
	bool brought;	       /* TID called exit_group() */
	bool complete;
};

/* Whether an end with STATUS (wait(2)) is one of those that are waited for. Pure. */
bool exit_tracer_wants(const struct exit_tracer *t, int status);

/* Seizes all threads. *THREADS (may be NULL) is their number. -ESRCH: it is gone; other errors with
 * a sentence in REASON; those that were seized then go on when the caller ends. */
int exit_tracer_arm(struct exit_tracer *t, size_t *threads, char reason[FREEZE_REASON_MAX]);
/* Handles the stops that are there; to be called upon SIGCHLD, and after exit_tracer_timeout()
 * milliseconds (-1: none). 1, once: the process is at a wanted end and held; 0: nothing; -ESRCH: it
 * has ended; other -errno: it could not be held. Children of the caller's own are reaped, too. */
int exit_tracer_step(struct exit_tracer *t);
int exit_tracer_timeout(const struct exit_tracer *t);
/* Lets a held process come to its end; step on until -ESRCH. */
void exit_tracer_release(struct exit_tracer *t);
void exit_tracer_free(struct exit_tracer *t);
