/* SPDX-License-Identifier: MIT */
/* The rules that are armed together. Which of them concern a process is a mask: bit I for rule I.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rules/rule.h"

#define RULE_SET_MAX 64 /* more are refused where they are read */

struct rule_set {
	const struct rule *v;
	size_t n;
};

/* Those whose WHO the process with this identity matches. */
uint64_t rule_set_matching(const struct rule_set *s, const struct identity *id);
/* Those that also watch what descends from a match. */
uint64_t rule_set_trees(const struct rule_set *s);
/* Those with a threshold, for which processes are sampled. */
uint64_t rule_set_sampling(const struct rule_set *s);

/* Those that look at sockets: at requests, or at work that lies unread. */
uint64_t rule_set_serving(const struct rule_set *s);

/* Those that watch functions being entered and left. */
uint64_t rule_set_entering(const struct rule_set *s);

/* Those that look at event loops. */
uint64_t rule_set_stalling(const struct rule_set *s);

/* Those that wait for an exit. */
uint64_t rule_set_exiting(const struct rule_set *s);

/* Deaths, and handled signals, that some rule waits for. */
uint64_t rule_set_fatal_signals(const struct rule_set *s);
uint64_t rule_set_first_chance(const struct rule_set *s);

/* No process but those of --pid can ever match any rule. */
bool rule_set_is_pids_only(const struct rule_set *s);
/* The same of the rules in MASK. */
bool rule_set_are_pids_only(const struct rule_set *s, uint64_t mask);
/* Some rule is for every process. */
bool rule_set_has_all(const struct rule_set *s);
/* A process that matches no rule now may do so later without an exec. */
bool rule_set_is_changeable(const struct rule_set *s);

/* The first rule of MASK from index *AT on; false: there is none. For
 * `for (size_t i = 0; rule_set_next(mask, &i); i++)`. */
bool rule_set_next(uint64_t mask, size_t *at);
