/* SPDX-License-Identifier: MIT */
/* Where captures go: a store, one file, or standard output. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "rules/decision.h"
#include "store/store.h"

struct destination {
	enum output_form form;
	struct store store; /* OUTPUT_STORE */
	int dirfd;	    /* OUTPUT_FILE: the directory it will be in */
	char *name;	    /* OUTPUT_FILE: its name there */
	const char *path;   /* as the user wrote it; NULL: the default store */
	int filefd;	    /* OUTPUT_FILE: the unnamed file that a capture is being written to */
};

#define DESTINATION_NONE ((struct destination){.store = STORE_NONE, .dirfd = -1, .filefd = -1})

/* What PATH (NULL: the default store) means: an existing directory, or what ends in '/', is a
 * store;
 * "-" is standard output; anything else is a file. */
enum output_form destination_form(const char *path);
/* Opens what WHAT says; a file must not exist. Says what is wrong; 0 or -errno. */
int destination_open(const struct capture_options *what, struct destination *out);
void destination_close(struct destination *o);

/* A borrowed descriptor to hand to whoever writes the next capture, or -errno. */
int destination_begin(struct destination *o);
/* The capture is complete or not: a file gets its name only now, and CAPTURE (may be NULL) its
 * path. 0 or -errno. */
int destination_end(struct destination *o, bool written, json_t *capture);
