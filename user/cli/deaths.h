/* SPDX-License-Identifier: MIT */
/* Deaths on their way from the kernel's record to the last event that speaks of them.
 *
 * Two messages tell of one death, in either order: the record from the ring buffer, and the
 * question of the crash handler that the kernel started. The record is unwound first, so that the
 * trip names the function; then the rule decides, the trip goes out, and the handler, if there is
 * one, gets its answer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/broker.h"
#include "cli/trip_context.h"
#include "cli/trip_counts.h"
#include "probe/event.h"
#include "target/process.h"

struct deaths;

/* CONTEXT is copied. BROKER: borrowed, NULL: no handler will ask. 0 or -errno, as for the others.
 */
int deaths_new(const struct trip_context *context, struct broker *broker, struct deaths **out);
void deaths_free(struct deaths *d);
/* Readable when deaths_progress() has something to do. */
int deaths_fd(const struct deaths *d);

/* A process that is watched dies, or a handler takes a signal, and the rules in the mask RULES wait
 * for that. Event and identity are taken over. 0 or -errno. */
int deaths_begin(struct deaths *d, struct event *e, struct identity *id, uint64_t rules);
/* From now on what dies is told, and not captured for REASON (static text), as long as others may
 * take to get to their last event. */
void deaths_close(struct deaths *d, const char *reason);
/* Whether that process' death is known already. */
bool deaths_knows(const struct deaths *d, pid_t pid, uint64_t start_ticks);
/* The rules that it tripped. */
uint64_t deaths_rules(const struct deaths *d, pid_t pid, uint64_t start_ticks);
/* The crash handler of that process asks; the answer follows when the death is decided. */
void deaths_asked(struct deaths *d, pid_t pid, uint64_t start_ticks, uint64_t conversation);
/* The handler reports (RESULT borrowed), or with NULL hung up without a word. */
void deaths_finished(struct deaths *d, uint64_t conversation, const json_t *result);
/* The last thread has ended. */
void deaths_ended(struct deaths *d, pid_t pid, uint64_t start_ticks, int exit_code);

/* Ends those whose process is gone for two sweeps, for when the record of its end was lost. */
void deaths_sweep(struct deaths *d);

/* Moves on what can move. NOW_NS is CLOCK_MONOTONIC. */
void deaths_progress(struct deaths *d, uint64_t now_ns);
/* The watch ends: what is still on its way gets its last event now, as far as it has come. */
void deaths_finish(struct deaths *d);
/* Deaths whose last event is not out yet. */
size_t deaths_pending(const struct deaths *d);

struct trip_counts deaths_counts(const struct deaths *d);
