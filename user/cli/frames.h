/* SPDX-License-Identifier: MIT */
/* The stack of a signal's thread: unwound from the process while the kernel holds it, else as far
 * as the copied bytes and the executable on disk allow. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "probe/event.h"
#include "target/process.h"
#include "target/unwind.h"

/* Start an unwinder for the event's thread: of the process while it is there, or of the
 * executable's file, which can name what lay in it. 0, or -errno where there is nothing to unwind
 * (any more). */
int frames_start(const struct event *e, struct unwind **out);
int frames_start_executable(const struct event *e, const struct identity *id, struct unwind **out);
/* What an unwinder found (its threads, borrowed) into the trip's "stack" and "signature". False,
 * and nothing changed, when it says no more than the kernel side did, or speaks of another file. */
bool frames_put(const struct event *e, json_t *threads, json_t *trip);
