/* SPDX-License-Identifier: MIT */
/* A file that gets its name only once it is whole. */
#pragma once

#include <stdbool.h>

struct new_file {
	int dirfd; /* of the directory it will be in */
	char *name;
	int fd;		    /* being written, or -1 */
	char temporary[40]; /* its name until then, where the file system has no nameless files */
};

#define NEW_FILE_NONE ((struct new_file){.dirfd = -1, .fd = -1})

/* Opens the directory of PATH. -EISDIR: PATH ends in a slash. */
int new_file_open(const char *path, struct new_file *out);
/* Begins an empty file, mode 0600, in place of what was begun before: F->fd, which stays F's. */
int new_file_begin(struct new_file *f);
/* Syncs it and gives it its name; with REPLACE in place of what is called so, else -EEXIST, for a
 * link as well. */
int new_file_commit(struct new_file *f, bool replace);
/* Drops what was begun and not committed. */
void new_file_discard(struct new_file *f);
/* The same, and frees. */
void new_file_close(struct new_file *f);
#define _cleanup_new_file_ __attribute__((cleanup(new_file_close)))
