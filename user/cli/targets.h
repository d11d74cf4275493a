/* SPDX-License-Identifier: MIT */
/* The processes that the rules watch: found once when armed, then kept true by exec, fork and exit
 * events. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "probe/event.h"
#include "probe/probe.h"
#include "rules/rule_set.h"
#include "target/process.h"

struct target {
	struct target *next, **at; /* AT is what points to it */
	pid_t pid;
	uint64_t start_ticks;
	uint64_t rules;		  /* mask of those that watch it */
	bool missing;		  /* at the last sweep */
	struct identity identity; /* as it was when it became a target */
};

struct targets {
	const struct rule_set *rules;
	struct probe *probe;
	struct target *head;
	void *by_pid; /* the same, for tsearch(3): thousands may be watched */
	size_t n;
	uint64_t unjudged; /* deaths of processes that were gone before it was known whether they
			      match */
};

/* Looks through /proc once, marks and adds what matches. 0 or -errno. */
int targets_find(struct targets *t);
/* Adds the process with this identity (moved out of *ID), which the rules in the mask RULES watch,
 * and marks it. *out is the table's. */
int targets_add(struct targets *t, struct identity *id, uint64_t rules, const struct target **out);
void targets_remove(struct targets *t, pid_t pid, uint64_t start_ticks);
const struct target *targets_get(const struct targets *t, pid_t pid, uint64_t start_ticks);
/* Removes those that are gone for two sweeps, for when the record of their end was lost. */
void targets_sweep(struct targets *t);
void targets_free(struct targets *t);

/* What is known of the event's process: from /proc while it is there, else from the table, else
 * from the event. 0 or -errno. */
int targets_identify(const struct targets *t, const struct event *e, struct identity *out);
/* The rules that watch the event's process; one that none does, and none can without an exec, is
 * marked so. */
uint64_t targets_judge(struct targets *t, const struct event *e, const struct identity *id);
