/* SPDX-License-Identifier: MIT */
/* A file of rules (DESIGN.md, section 4, as YAML), and what lies in conf.d beside it, read but not
 * yet understood: what the keys of a rule mean is rules/spec.h's to say. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/host_limits.h"
#include "config/problems.h"
#include "config/section.h"

#define CONFIG_DEFAULT_PATH  "/etc/coretrap/coretrap.yaml"
#define CONFIG_RULES_MAX     64
#define CONFIG_RULE_NAME_MAX 64 /* bytes */

struct config_rule {
	struct config_text name; /* printable, and no other rule has it */
	struct config_section keys;
};

struct config {
	char **files; /* the names; the first is the one that was asked for */
	size_t file_count;
	bool observe; /* mode: observe */
	struct config_text mode, store;
	struct host_limits limits;
	struct config_section defaults;
	struct config_rule *rules;
	size_t rule_count;
};

/* Loads PATH and its conf.d. In a later file the keys of `limits` and `defaults`, `mode` and
 * `store` replace those of an earlier one; `rules` are added. 0; -EINVAL: PROBLEMS tells, and *OUT
 * has what was right; -ENOMEM. *OUT is to be freed in any case. */
int config_load(const char *path, struct config *out, struct config_problems *problems);
/* The same of one text that is called NAME. */
int config_parse(const char *name, const char *text, size_t len, struct config *out,
	struct config_problems *problems);
void config_free(struct config *c);
#define _cleanup_config_ __attribute__((cleanup(config_free)))
