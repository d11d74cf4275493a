/* SPDX-License-Identifier: MIT */
/* A file of rules, turned into rules. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "config/document.h"
#include "rules/rule_set.h"

/* Immutable once loaded. */
struct run_config {
	struct config config; /* has the texts that the rules borrow */
	struct rule *rules;   /* one for each of the file's */
	size_t n;
};

/* Loads PATH and its conf.d. 0; -EINVAL, after a line "FILE:LINE:COLUMN: message" on ERR for each
 * problem; another -errno, after one line that says so. *OUT is untouched on failure, so that a
 * reload can go on with what it has. */
int run_load(const char *path, struct run_config *out, FILE *err);
void run_config_free(struct run_config *c);
#define _cleanup_run_config_ __attribute__((cleanup(run_config_free)))

/* Borrows from C. */
struct rule_set run_config_rules(const struct run_config *c);

/* Whether the default E has an effect on rule I: the rule does not say otherwise, and it goes with
 * what the rule says. */
bool run_default_applies(const struct run_config *c, size_t i, const struct config_entry *e);
