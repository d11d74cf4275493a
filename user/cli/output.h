/* SPDX-License-Identifier: MIT */
/* Where captures go: a store, one file, or standard output. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "rules/decision.h"
#include "store/store.h"

struct output {
	enum output_form form;
	struct store store; /* OUTPUT_STORE */
	int dirfd;	    /* OUTPUT_FILE: the directory it will be in */
	char *name;	    /* OUTPUT_FILE: its name there */
	const char *path;   /* as the user wrote it; NULL: the default store */
	int filefd;	    /* OUTPUT_FILE: the unnamed file that a capture is being written to */
};

#define OUTPUT_NONE ((struct output){.store = STORE_NONE, .dirfd = -1, .filefd = -1})

/* Opens what WHAT says: an existing directory, or a path that ends in '/', is a store; any other
 * path is a file, which must not exist. Says what is wrong; 0 or -errno. */
int output_open(const struct capture_options *what, struct output *out);
void output_close(struct output *o);

/* A borrowed descriptor to hand to whoever writes the next capture, or -errno. */
int output_begin(struct output *o);
/* The capture is complete or not: a file gets its name only now, and CAPTURE (may be NULL) its
 * path. 0 or -errno. */
int output_end(struct output *o, bool written, json_t *capture);
