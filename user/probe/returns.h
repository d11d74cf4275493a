/* SPDX-License-Identifier: MIT */
/* Threads that come out of a wait: probes on the instructions behind its system calls. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/process.h"
#include "target/wait_site.h"

struct returns;

/* Loads the kernel side, and attaches nothing. 0 or -errno, as probe_open(). */
int returns_open(struct returns **out);
void returns_close(struct returns *r); /* NULL-safe; no probes are left */

/* Readable when there are answers, a thread went round RETURNS_TOLD times, or a process' probes
 * fire too often. */
int returns_fd(const struct returns *r);
/* Takes what made it readable: returns_read() and returns_is_over() say what it was. */
void returns_clear(struct returns *r);

#define RETURNS_TOLD	   8
#define RETURNS_RATE_MAX   10000 /* times a second and process */
#define RETURNS_PLACES_MAX 16

/* Asks for probes at the N PLACES of process P, of which TID is a thread that lives.
 * *ID is what the answer has and returns_end() wants. 0, -EAGAIN (too much was asked for already),
 * -EPIPE (nobody is left to hold them), or -errno. */
int returns_begin(struct returns *r, const struct process *p, pid_t tid,
	const struct wait_site *places, size_t n, uint64_t *id);
/* The next answer: 1, 0 where there is none, or -errno: -EPIPE, all probes are lost. The process
 * that held them has ended, and another one was begun for those to come, but only once. *ERROR: 0,
 * the probes are there; or -errno, and there are none: -ESTALE where something else is mapped at
 * one of the places by now. */
int returns_answer(struct returns *r, uint64_t *id, int *error);
/* Has them taken off, whether they have been answered yet or not. */
void returns_end(struct returns *r, pid_t pid, uint64_t id);

/* Whoever was asked for probes still has them: no round was missed until now. */
bool returns_holds(const struct returns *r);

/* The process' probes fired too often: nothing is seen of it until they are off. */
bool returns_is_over(const struct returns *r, pid_t pid);

/* A thread whose rounds are counted from now on, those alone that come out of a wait whose first
 * argument was FIRST; 0: of any. 0 or -errno. */
int returns_add(struct returns *r, pid_t tid, uint64_t first);
void returns_remove(struct returns *r, pid_t tid);
/* How often it came out of the wait, and when it last did (CLOCK_MONOTONIC). 0 or -errno. */
int returns_read(const struct returns *r, pid_t tid, uint64_t *rounds, uint64_t *last_ns);
