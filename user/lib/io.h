/* SPDX-License-Identifier: MIT */
/* Whole reads and writes. All return 0 (or a length) or -errno. */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads exactly len bytes; -ENODATA when the file ends before. */
int io_read_exact(int fd, void *buf, size_t len);

/* Reads until len bytes or end of file; returns the bytes read or -errno. */
ssize_t io_read_upto(int fd, void *buf, size_t len);

/* Writes all of buf, however many calls it takes. */
int io_write_all(int fd, const void *buf, size_t len);

/* Reads the file NAME below DIRFD into a new NUL-terminated buffer that the caller frees.
 * At most MAX bytes are kept; -E2BIG when there are more. *len (may be NULL) is without the NUL. */
int io_read_file_at(int dirfd, const char *name, size_t max, char **out, size_t *len);

/* Whether LEN bytes (at least one) are all zero: a hole, where a file may have them. */
bool io_is_zero(const char *p, size_t len);

/* Opens the directory NAME below DIRFD to be read; the caller closes *out. */
int io_open_dir_at(int dirfd, const char *name, DIR **out);

/* Writes TEXT to the existing file NAME below DIRFD in a single write(2), as sysctls ask for. */
int io_write_file_at(int dirfd, const char *name, const char *text);

/* Closes every descriptor but those of KEEP, which gets sorted; -1 entries are passed over. */
int io_close_others(int *keep, size_t n);
