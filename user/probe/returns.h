/* SPDX-License-Identifier: MIT */
/* Threads that come out of a wait: probes on the instructions behind its system calls. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "probe/uprobe.h"
#include "target/process.h"

struct returns;

/* Loads the kernel side, and attaches nothing. 0 or -errno, as probe_open(). */
int returns_open(struct returns **out);
void returns_close(struct returns *r); /* NULL-safe */
/* Readable when a suspect went round RETURNS_TOLD times, or a process' probes fire too often. */
int returns_fd(const struct returns *r);
/* Takes what made it readable: returns_read() and returns_is_over() say what it was. */
void returns_clear(struct returns *r);

#define RETURNS_TOLD	 8
#define RETURNS_RATE_MAX 10000 /* times a second and process */

/* Has the threads of process P be seen as they come to the N addresses in PLACES; TID is one that
 * lives. The probes go into *PROBES, and end with returns_detach(). 0, or -errno and nothing is
 * attached. */
int returns_attach(struct returns *r, const struct process *p, pid_t tid, const uint64_t *places,
	size_t n, struct uprobes *probes);
void returns_detach(struct returns *r, pid_t pid, struct uprobes *probes);

/* The process' probes fired too often: nothing is seen of it until they are detached. */
bool returns_is_over(const struct returns *r, pid_t pid);

/* A thread whose rounds are counted from now on. 0 or -errno. */
int returns_add(struct returns *r, pid_t tid);
void returns_remove(struct returns *r, pid_t tid);
/* How often it came out of the wait, and when it last did (CLOCK_MONOTONIC). 0 or -errno. */
int returns_read(const struct returns *r, pid_t tid, uint64_t *rounds, uint64_t *last_ns);
