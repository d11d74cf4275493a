/* SPDX-License-Identifier: MIT */
/* --exit with a core: the tracers of all targets that are to be captured at their end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/targets.h"
#include "cli/trip_context.h"
#include "cli/trip_counts.h"

struct exits;

int exits_new(const struct trip_context *context, struct exits **out);
/* The targets go on, untraced. NULL-safe. */
void exits_free(struct exits *e);
/* Readable when exits_progress() has something to do. */
int exits_fd(const struct exits *e);

/* A new target: traced, if one of its rules captures at the end and may still do so. What cannot be
 * is said; the record of its end trips then. */
void exits_watch(struct exits *e, const struct target *target);
/* Waits until each tracer says that it is there, or that it cannot be; at most TIMEOUT_MS. */
void exits_settle(struct exits *e, int timeout_ms);
/* A new image of it is no target any more. */
void exits_unwatch(struct exits *e, pid_t pid, uint64_t start_ticks);
/* The rules whose trip at the end of that process its tracer has told, or is about to tell. */
uint64_t exits_to_tell(struct exits *e, pid_t pid, uint64_t start_ticks);
/* Those whose trip it has told. Complete once the process has ended: it told before it let go of
 * it, or never will. */
uint64_t exits_told(struct exits *e, pid_t pid, uint64_t start_ticks);
/* It has ended: its entry goes. */
void exits_ended(struct exits *e, pid_t pid, uint64_t start_ticks);

/* A process has one tracer at a time: it is let go for a capture, and traced again behind it. */
void exits_pause(struct exits *e, pid_t pid, uint64_t start_ticks);
void exits_resume(struct exits *e, pid_t pid, uint64_t start_ticks);

/* From now on no process gets a tracer, and what ends is told, and not captured for REASON (static
 * text). */
void exits_close(struct exits *e, const char *reason);

void exits_progress(struct exits *e);
/* Captures at an end that are under way. */
size_t exits_pending(const struct exits *e);
struct trip_counts exits_counts(const struct exits *e);
