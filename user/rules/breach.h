/* SPDX-License-Identifier: MIT */
/* One rule's thresholds over one process: how long they have been passed, in a row. Pure: all it
 * knows comes with the measures. */
#pragma once

#include "rules/condition.h"
#include "rules/rule.h"

enum breach_phase {	  /* what a person is told */
	BREACH_ARMED,	  /* nothing is past its threshold */
	BREACH_BREACHING, /* past it, not for long enough yet */
	BREACH_TRIPPED,	  /* just now */
};

struct breach; /* state of one rule over one process */

int breach_new(const struct rule *rule, struct breach **out); /* RULE is borrowed; 0 or -ENOMEM */
void breach_free(struct breach *b);			      /* NULL-safe */

struct breach_reading {
	enum breach_phase phase;
	uint64_t time_ns;     /* of the measure; 0: there was none since the count started */
	unsigned int known;   /* bit a condition_kind of the rule's: its value could be told */
	unsigned int met;     /* bit a condition_kind: past its limit now */
	unsigned int tripped; /* bit a condition_kind: those of MET that it tripped on */
	uint64_t value[CONDITION_KINDS]; /* in the unit of its condition.limit */
	uint64_t held_ns;		 /* how long it has held, by the samples' own clock */
	uint64_t needed_ns;
};

/* The next measure of the process. A trip starts the count again by itself; so do another process
 * (id or start time), a clock that went back, and a gap of several intervals.
 *
 * CPU time is that of the interval before a measure, so the time it has held begins with the first
 * such interval; of that it counts the part that explains a step from the interval before to the
 * one after (idle for 0.9 s of it, then at 100 %: 0.1 s). What the other conditions look at holds
 * from one measure to the next. An interval that a timer made up to a 20th too short is a whole
 * one. */
void breach_feed(struct breach *b, const struct measure *m, struct breach_reading *out);
/* As it was at the last measure, for those who ask. */
const struct breach_reading *breach_last(const struct breach *b);
/* The process was stopped, captured, or another image: what was seen before does not count. */
void breach_restart(struct breach *b);
