/* SPDX-License-Identifier: MIT */
/* Trips of processes that live, on their way to the last event that speaks of them.
 *
 * A capture may block on disks, so each runs in a process of its own, one at a time, or as
 * many as are allowed; the others wait in the order in which they tripped. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/exits.h"
#include "cli/trip_context.h"
#include "cli/trip_counts.h"
#include "target/process.h"

struct lives;

/* EXITS, borrowed, let go of what is captured. AT_ONCE: captures, at least 1. */
int lives_new(const struct trip_context *context, struct exits *exits, uint64_t at_once,
	struct lives **out);
/* Captures under way are broken off; nobody is harmed. */
void lives_free(struct lives *l);
/* Readable when lives_progress() has something to do. */
int lives_fd(const struct lives *l);

struct live_trip {
	size_t rule;
	struct trip trip;
	pid_t tid;		  /* the thread that comes first in the core; 0: none */
	bool gone;		  /* it has ended: there is nothing to capture */
	struct profiling *stacks; /* borrowed: where it burned; NULL: nobody knows */
	json_t *event;		  /* the trip, taken over */
};

/* Decides, says the trip, and captures or says why not. 0 or -errno. */
int lives_begin(struct lives *l, const struct live_trip *trip);
/* Calls START_ANEW for each process that is being captured, with the rule it is captured for: what
 * is seen of it meanwhile does not count. */
void lives_each(const struct lives *l,
	void (*start_anew)(void *arg, pid_t pid, uint64_t start_ticks, size_t rule), void *arg);
/* Moves on what can move. */
void lives_progress(struct lives *l);
/* The watch is to end, for REASON: what has not begun gets its last event. */
void lives_drop_waiting(struct lives *l, const char *reason);
/* The watch ends: what waits or is under way gets its last event. */
void lives_finish(struct lives *l);
/* Trips whose last event is not out yet. */
size_t lives_pending(const struct lives *l);

struct trip_counts lives_counts(const struct lives *l);
