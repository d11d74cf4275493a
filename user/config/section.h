/* SPDX-License-Identifier: MIT */
/* A map of keys whose values are texts, or lists of texts: a rule, the defaults, the limits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/problems.h"
#include "config/nodes.h"

#define CONFIG_KEYS_MAX	  128 /* of one map */
#define CONFIG_VALUES_MAX 256 /* of one key */

struct config_text {
	char *text; /* NULL: not given */
	struct config_place at;
};

/* A key with its values, as text. */
struct config_entry {
	struct config_text key;
	struct config_text *values;
	size_t n;  /* at least 1 */
	bool list; /* was written as a list */
};

struct config_section {
	struct config_entry *v;
	size_t n;
};

void section_free(struct config_section *s);
#define _cleanup_section_ __attribute__((cleanup(section_free)))
/* NULL: the section has no such key. */
const struct config_entry *section_find(const struct config_section *s, const char *key);

/* Where the nodes come from, and where problems go. */
struct section_reader {
	struct config_problems *problems;
	unsigned int file;
};

struct config_place section_place(const struct section_reader *r, const struct node *node);
/* Copies a NODE_TEXT in place of what *OUT had. 0 or -ENOMEM. */
int section_copy(const struct section_reader *r, const struct node *node, struct config_text *out);
/* An empty value, ~ or null. */
bool section_is_nothing(const struct node *node);
/* NODE, which messages call WHAT, is a map, and not too large; else a problem. */
bool section_is_map(const struct section_reader *r, const struct node *node, const char *what);
/* Key I (even) of MAP is a text that no key before it has; else a problem. */
bool section_is_key(const struct section_reader *r, const struct node *map, size_t i);
/* Key I of MAP with its values, in place of what *OUT may have of that key. What is wrong with it
 * is a problem, and it is left out. 0 or -ENOMEM. */
int section_take(const struct section_reader *r, const struct node *map, size_t i,
	struct config_section *out);
/* All keys of NODE, which may be nothing. */
int section_take_all(const struct section_reader *r, const struct node *node, const char *what,
	struct config_section *out);
