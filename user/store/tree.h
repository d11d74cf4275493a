/* SPDX-License-Identifier: MIT */
/* Directories of the store, for the store's own files. */
#pragma once

#include <dirent.h>
#include <stdbool.h>

/* Opens the directory NAME below DIRFD for reading, no link: a descriptor or -errno. */
int tree_open(int dirfd, const char *name);
/* A new stream over the directory DIRFD, which stays the caller's; NULL with errno. */
DIR *tree_stream(int dirfd);
/* The next entry but "." and "..": 1, 0 at the end, -errno. */
int tree_next(DIR *dir, struct dirent **out);
/* Takes the lock on the directory FD, waiting for nobody: -EWOULDBLOCK when another has it. */
int tree_lock(int fd);
/* Whether NAME below DIRFD is the directory FD. */
bool tree_is(int dirfd, const char *name, int fd);
/* Removes everything in the directory DIRFD, links themselves, never through them. */
int tree_clear(int dirfd);
