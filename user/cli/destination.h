/* SPDX-License-Identifier: MIT */
/* Where captures go: a store, one file, or standard output. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "lib/new_file.h"
#include "rules/decision.h"
#include "store/store.h"

struct destination {
	enum output_form form;
	struct store store;   /* OUTPUT_STORE */
	struct new_file file; /* OUTPUT_FILE */
	bool replace;	      /* OUTPUT_FILE: what is called so already */
	const char *path;     /* as the user wrote it; NULL: the default store */
};

#define DESTINATION_NONE ((struct destination){.store = STORE_NONE, .file = NEW_FILE_NONE})

/* What PATH (NULL: the default store) means: an existing directory, or what ends in '/', is a
 * store;
 * "-" is standard output; anything else is a file. */
enum output_form destination_form(const char *path);
/* Opens what WHAT says; a file must not exist unless it is to be replaced. Says what is wrong; 0 or
 * -errno. */
int destination_open(const struct capture_options *what, struct destination *out);
/* Also removes what writers that were killed have left in the store. */
void destination_close(struct destination *o);

/* The same destination for one who begins a capture while others may be under way: what it writes
 * is a file of its own until it gets the name. O must outlive it. 0 or -errno. */
int destination_borrow(const struct destination *o, struct destination *out);
void destination_give_back(struct destination *o);

/* WHAT, with a store's path from the root on: for whoever knows neither the working directory nor
 * the default. Borrows from O. */
struct capture_options destination_options(
	const struct destination *o, const struct capture_options *what);
/* A borrowed descriptor to hand to whoever writes the next capture, or -errno. */
int destination_begin(struct destination *o);
/* The capture is complete or not: a file gets its name only now, and CAPTURE (may be NULL) its
 * path. 0 or -errno. */
int destination_end(struct destination *o, bool written, json_t *capture);
