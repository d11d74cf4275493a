/* SPDX-License-Identifier: MIT */
/* The actions that follow captures: lists that run side by side, each event of which goes to the
 * feed. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "rules/action.h"
#include "sink/feed.h"

struct followups;

int followups_new(const struct feed *feed, struct followups **out);
/* What still runs is killed. NULL-safe. */
void followups_free(struct followups *f);
/* Readable when followups_progress() has something to do. */
int followups_fd(const struct followups *f);

/* Runs LIST (borrowed) for INCIDENT, about the process PID, which may be gone. What cannot be
 * started is logged. */
void followups_start(struct followups *f, const struct actions *list, pid_t pid,
	uint64_t start_ticks, const json_t *incident);
void followups_progress(struct followups *f);
/* Lists that still run. */
size_t followups_pending(const struct followups *f);
