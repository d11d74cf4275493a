/* SPDX-License-Identifier: MIT */
/* Text into a rule: the one place that knows each key, its values and which of them make no sense
 * together. A key is a long flag without its dashes, and the same word in a file of rules. Reads
 * nothing but the user database and, for "pid", /proc. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/clock.h"
#include "rules/rule.h"

#define SPEC_WHY_MAX 256

/* What a rule that does not say so allows as a pause; `dump` allows any. */
#define RULE_MAX_PAUSE_NS (250 * NSEC_PER_MSEC)

enum spec_form {
	SPEC_SWITCH, /* true or false; as a flag without a value */
	SPEC_ONE,    /* one value, once */
	SPEC_MANY,   /* one value each time, as often as wanted; in order */
};

struct spec_key {
	const char *name;
	enum spec_form form;
};

/* Every key, in the order of the documentation. */
const struct spec_key *spec_keys(size_t *n);
/* NULL: there is no such key. */
const struct spec_key *spec_find(const char *name);

/* A rule that is being put together. Set by the caller before the first call, the rest zero. */
struct spec {
	struct rule
		*rule; /* the caller's, with its name and its own defaults (count, max_pause_ns) */
	const char *dashes; /* before a key that a message names: "--" for flags, else "" */
	bool command;	    /* the process is one that is started: it takes no WHO */
	unsigned int cpus;  /* of the machine that the rule is for; 0: not known */

	uint64_t duration_ns; /* "duration": the watch ends after it; 0: no end */
	uint64_t given;	      /* bit a key: spec_set() had it */
};

/* Sets one key. VALUE is text as a person writes it; of a SPEC_SWITCH it is NULL, "true" or
 * "false". The values of "output" and "comment" are borrowed: they must last as long as the rule.
 * 0, or WHY says in one line, without the key's name, what is wrong:
 * -EINVAL: the value makes no sense, or the key came before;
 * -ENOENT: there is no such key;
 * -ESRCH: "pid" names a process that is not there;
 * or another -errno of the system. */
int spec_set(struct spec *s, const char *name, const char *value, char why[SPEC_WHY_MAX]);

/* The same for what somebody set for many rules at once ("defaults"): of no effect where the rule
 * has the key already, and no reason to refuse the rule because of what it does not go with. Call
 * it after the rule's own keys. */
int spec_default(struct spec *s, const char *name, const char *value, char why[SPEC_WHY_MAX]);

/* When all keys are set: what only shows now, and the defaults that depend on one another.
 * rule->what.form must have been set by then, by whoever knows what the output is. 0, or -EINVAL,
 * and then NAME is the key that is wrong (NULL: something is missing) and WHY says why, without
 * NAME. */
int spec_finish(struct spec *s, const char **name, char why[SPEC_WHY_MAX]);
/* Of that only how often and WHAT, for captures that no rule asks for. */
int spec_finish_what(struct spec *s, const char **name, char why[SPEC_WHY_MAX]);
