/* SPDX-License-Identifier: MIT */
/* The flags that set keys of a rule (rules/spec.h), and those that commands share. */
#pragma once

#include <argp.h>
#include <stdbool.h>

#include "rules/spec.h"

struct flags {
	struct rule rule; /* flags_free() */
	struct spec spec;
	bool json, quiet;
};

/* Children of a command's argp; all have a struct flags as their input. */
extern const struct argp flags_what_argp;  /* WHAT: --kind … */
extern const struct argp flags_print_argp; /* --json, --quiet, --verbose */

/* RULE is what holds where no flag says otherwise. */
void flags_init(struct flags *f, const struct rule *rule);
void flags_free(struct flags *f);

/* The row of OPTIONS with this key sets the rule's key of the same name: 0 or ARGP_ERR_UNKNOWN.
 * Exits with one line that names the flag where the value makes no sense. */
error_t flags_set(struct flags *f, struct argp_state *state, const struct argp_option *options,
	int key, const char *arg);

/* For ARGP_KEY_END, with spec_finish() or spec_finish_what(); exits as above. */
void flags_finish(struct flags *f, struct argp_state *state,
	int (*finish)(struct spec *s, const char **name, char why[SPEC_WHY_MAX]));
