/* SPDX-License-Identifier: MIT */
/* What the commands that look at captures share: their options, and how they say what is wrong. */
#pragma once

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "store/store.h"

struct captures_options {
	const char *command; /* for messages */
	const char *store;   /* NULL: the default */
	bool json;
};

/* Children for struct argp; the child's input is a struct captures_options. */
extern const struct argp captures_argp;	       /* -s */
extern const struct argp captures_output_argp; /* -o */
extern const struct argp captures_json_argp;   /* --json */
/* The parser of a command whose only options are those three, as its children in that order. */
error_t captures_parse_only(int key, char *arg, struct argp_state *state);

/* Opens the store for reading, and finds the capture WHICH in it. Each says in one line what is
 * wrong; 0 or -errno. */
int captures_open(const struct captures_options *o, struct store *s);
int captures_find(const struct captures_options *o, const struct store *s, const char *which,
	char id[STORE_ID_MAX]);
/* Loads its incident, or says what is wrong with it. */
int captures_load(
	const struct captures_options *o, const struct store *s, const char *id, json_t **incident);

/* The capture's core: core.zst, else core. A descriptor, -ENOENT (no core was taken), -errno. */
int captures_open_core(const struct store *s, const char *id, bool *compressed);

/* Writes S, which anybody may have chosen, as at most MAX bytes of printable text. */
void captures_print(FILE *out, const char *s, size_t max);
/* Nested objects: captures_at(o, "trigger", "signal"). B may be NULL. */
const json_t *captures_at(const json_t *o, const char *a, const char *b);
