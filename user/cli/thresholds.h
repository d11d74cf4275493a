/* SPDX-License-Identifier: MIT */
/* Thresholds of the rules over the processes they watch: sampled once an interval, judged, and
 * handed out as trips. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/blame.h"
#include "cli/targets.h"
#include "rules/breach.h"
#include "rules/rule_set.h"

struct thresholds;

/* Some rule of RULES has a threshold. LEDGER says which will capture nothing more. Both are
 * borrowed. 0 or -errno, as sampler_open(). */
int thresholds_open(
	const struct rule_set *rules, const struct ledger *ledger, struct thresholds **out);
void thresholds_close(struct thresholds *t); /* NULL-safe */
/* Readable when thresholds_pass() has something to do. */
int thresholds_fd(const struct thresholds *t);

/* A new target, or a new image of one; nothing to do where none of its rules has a threshold. 0 or
 * -errno. */
int thresholds_watch(struct thresholds *t, const struct target *target);
/* It has ended. Whose end is not told is forgotten after some passes without it; but those may be
 * minutes apart, in which a busy host has more short processes than may be watched. */
void thresholds_forget(struct thresholds *t, pid_t pid, uint64_t start_ticks);
/* It is captured for that rule: what was seen before does not count, and the next thresholds_pass()
 * does not judge it by the rule, else a threshold that need not hold for any time would trip in
 * every pass of a long capture. */
void thresholds_restart(struct thresholds *t, pid_t pid, uint64_t start_ticks, size_t rule);

/* Samples, if an interval has passed. Returns whether it has. To be called at least once a second
 * in any case: stacks of what is past a CPU threshold are taken in here. */
bool thresholds_pass(struct thresholds *t);

struct threshold_trip {
	size_t rule;
	struct measure measure;	       /* at which it tripped */
	struct breach_reading reading; /* what it tripped on */
};

/* The next trip of the last pass. */
bool thresholds_next(struct thresholds *t, struct threshold_trip *out);

/* Who used the processor, for a trip on it: adds that to TRIGGER, see blame_name(). *STACKS is
 * borrowed until the next pass, NULL where there are none. 0 or -errno. */
int thresholds_blame(const struct thresholds *t, const struct sample *sample, json_t *trigger,
	pid_t *tid, struct profiling **stacks);

/* What a rule last saw of a process; NULL: it does not sample it. */
const struct breach_reading *thresholds_reading(
	const struct thresholds *t, pid_t pid, uint64_t start_ticks, size_t rule);
