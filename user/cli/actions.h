/* SPDX-License-Identifier: MIT */
/* What is done to a process behind (or ahead of) its capture: one forked process a list, which runs
 * its actions in their order and reports each. The loop never waits for it. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "rules/action.h"
#include "target/process.h"

#define ACTIONS_EXEC_NS (30ULL * 1000000000) /* default limit of a program */

enum actions_when {
	ACTIONS_BEFORE, /* the capture waits for the end of the list */
	ACTIONS_AFTER,
};

struct actions_request {
	const struct actions *list;
	const struct process *process; /* NULL: it has gone already */
	const json_t *incident;	       /* the capture event; the trip, where nothing is captured */
	enum actions_when when;
	uint64_t exec_ns; /* each program's limit; 0: ACTIONS_EXEC_NS */
};

struct actions_run; /* a list that is being run */

/* Starts it; the list must outlive the run, the rest need not. 0, or -errno and nothing was
 * started. */
int actions_start(const struct actions_request *request, struct actions_run **out);
/* Readable when actions_read() has something to do. */
int actions_fd(const struct actions_run *run);
/* 1: *EVENT (the caller's) is the event "action" of the next action that has ended; 0: none has;
 * -ENODATA: all have, actions_end() it. Each action gets its event, even if its runner died. */
int actions_read(struct actions_run *run, json_t **event);
/* NULL-safe. What still runs is killed, with all that it started. */
void actions_end(struct actions_run *run);
