/* SPDX-License-Identifier: MIT */
/* Where one process spends its time: user stacks of its running threads, 99 times a second of each
 * one's processor time, by perf events of that process alone. New threads are followed. The stacks
 * are copied raw, and unwound and named only at the end.
 *
 * What goes beyond a bound is counted: at most PROFILE_KEPT samples are kept, by chance among all,
 * so that the shares hold; of each stack PROFILE_STACK bytes; of a process with very many threads,
 * those that have used the most time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "target/process.h"

#define PROFILE_KEPT   512
#define PROFILE_STACK  8192 /* bytes */
#define PROFILE_EVENTS 512  /* descriptors at most, and one more for each processor */

struct profile;

struct profile_result {
	char *folded;	  /* "comm;outermost;…;innermost COUNT" lines, the most frequent first;
			     the caller frees it */
	uint64_t samples; /* taken */
	uint64_t kept;	  /* of them are in FOLDED */
	uint64_t lost;	  /* found no room, since nobody polled in time */
	uint64_t threads_left_out; /* threads that were there at the start and are not followed */
};

/* 0 or -errno: -ESRCH (it has ended), -EMFILE … PROCESS is borrowed until profile_finish() or
 * profile_free(). */
int profile_start(const struct process *process, struct profile **out);
/* Takes out what has gathered; to be called at least once a second, else samples are lost. Never
 * blocks. */
void profile_poll(struct profile *p);
/* Takes no more samples, and gives back events and buffers. To be called ahead of a fork() whose
 * child is to finish: the kernel hands the buffers on to no child. */
void profile_stop(struct profile *p);
/* Stops, unwinds and names: takes up to TIMEOUT_NS, so not for the loop. FOLDED is "" where no
 * thread ran. 0 or -errno; P is still the caller's to free. */
int profile_finish(struct profile *p, uint64_t timeout_ns, struct profile_result *out);
void profile_free(struct profile *p); /* NULL-safe */
