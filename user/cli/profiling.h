/* SPDX-License-Identifier: MIT */
/* Samples of the stacks of a process that burns, from when it does until a capture has them, within
 * what a watch may spend on all of them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What all the samplings of one watch have taken. */
struct profiling_budget {
	size_t count;
	size_t descriptors;
};

struct profiling; /* counted references: of whoever watches the process, and of its captures */

/* Begins; B must outlive it. NULL only without memory: whatever else is in the way is said by
 * profiling_finish(). */
struct profiling *profiling_start(
	struct profiling_budget *b, pid_t pid, uint64_t start_ticks, uint64_t threads);
/* At least once a second, else samples are lost. */
void profiling_poll(struct profiling *p);
/* A reference for a capture: sampling ends here. NULL-safe. */
struct profiling *profiling_take(struct profiling *p);
bool profiling_is_taken(const struct profiling *p); /* NULL-safe: false */
void profiling_release(struct profiling *p);	    /* NULL-safe */

#define PROFILING_FILE "stacks.folded"

/* Unwinds and names, for seconds; in a process of its own. *FOLDED (the caller's to free) is the
 * text for PROFILING_FILE, NULL where there is none. *SUMMARY: {"samples","kept","lost"} and, where
 * they apply, "threads_left_out", "hottest" (the most frequent stack, with its count), "reason"
 * (why there is nothing). 0 or -ENOMEM. */
int profiling_finish(struct profiling *p, json_t **summary, char **folded);
