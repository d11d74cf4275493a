/* SPDX-License-Identifier: MIT */
/* The event loops of one process: which of its threads are any, and where they are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/targets.h"
#include "probe/returns.h"
#include "rules/stall.h"
#include "target/process.h"
#include "target/wait.h"

struct stall_thread {
	pid_t tid;
	int fd;		      /* its file syscall; -1 of one that is no loop yet */
	uint64_t start_ticks; /* of one that polls: the number may come again */
	uint64_t round;	      /* in which it was last looked at, while it is no loop */
	enum loop_call loop;  /* LOOP_NONE: it is no loop yet */
	long call;	      /* in which it was last seen to wait */
	uint64_t epoll;	      /* LOOP_EPOLL: what it waits for */
	uint64_t pc;	      /* where it waits */
	uint64_t switches;    /* when it was seen there */
	bool shares;	      /* other threads wait for the same: one that sleeps is not missed */
	bool gone;
	bool suspect;	  /* its rounds are counted */
	uint64_t rest_ns; /* and will not be before then (CLOCK_MONOTONIC) */
	struct thread_wait wait;
	struct stall_sample sample; /* the last one */
	struct stall state;
};

struct stall_process {
	struct stall_process *next;
	pid_t pid;
	uint64_t start_ticks;
	uint64_t rules;
	struct process process; /* while some of its threads are known */
	struct stall_thread *v;
	size_t n, room;
	struct wait_site places[RETURNS_PLACES_MAX]; /* where its loops wait */
	size_t place_count;
	bool places_full;
	uint64_t probes;      /* their id; 0: not asked for */
	pid_t probes_tid;     /* they end with this thread */
	size_t probes_places; /* so many of the places have them */
	bool armed;	      /* they are there */
	bool unprobed;	      /* nor ever again */
	bool busy;	      /* it is captured */
	bool starved;	      /* there were no descriptors for all of its loops */
	bool said_starved;
	pid_t *tids; /* that are still to be looked over */
	size_t tid_count, tid_at;
	uint64_t rounds;  /* of looks over all of them */
	uint64_t look_ns; /* when it is to be looked over again */
};

/* 0 or -ENOMEM. */
int stall_process_new(const struct target *target, uint64_t rules, struct stall_process **out);
/* The probes must have been taken off. */
void stall_process_free(struct stall_process *p);

/* Looks over threads that are not known as loops, if it is time to: MOST files at most, which is
 * more than 1. Returns how many. */
size_t stall_process_look(struct stall_process *p, uint64_t now_ns, size_t most);
/* Takes a sample of each loop, or finds that it is gone. */
void stall_process_sample(struct stall_process *p);
/* A thread's wait is among the places. */
bool stall_process_knows(const struct stall_process *p, const struct stall_thread *t);
/* Forgets the places where something else is mapped by now, and the loops that were seen there: as
 * loops they are to be found anew. None of P is a suspect. */
void stall_process_forget_places(struct stall_process *p);
/* By its WAIT, it stands where it is to go back to. */
bool stall_process_waits(const struct stall_thread *t);
/* Forgets one; the last takes its place. */
void stall_process_drop(struct stall_process *p, struct stall_thread *t);
/* Somebody else waits for what this thread should be waiting for: all threads are asked. */
bool stall_process_is_served(struct stall_process *p, struct stall_thread *t);
