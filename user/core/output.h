/* SPDX-License-Identifier: MIT */
/* Where the bytes of a core go: data and holes into a sparse file, a pipe or zstd frames. The
 * host's page cache is left as it was: what was written is sent to the disk and dropped, window by
 * window. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rules/decision.h"

struct output;

/* FD is borrowed, at offset 0. 0 or -errno. */
int output_open(int fd, enum core_compression compression, struct output **out);
/* How many threads compress, before the first byte; 0: as many as the machine can spare. Without
 * effect where nothing is compressed. */
void output_set_threads(struct output *o, unsigned int threads);
/* Into a file, from now on, at most so many BYTES a second; 0: as fast as it goes. */
void output_set_speed(struct output *o, uint64_t bytes);
/* Whether output_write() may be called in any order, and from several threads at once: a seekable
 * file that is not compressed. Else each write comes behind the one before it. */
bool output_any_order(const struct output *o);
/* Puts LEN bytes at OFFSET of the core. What is written nowhere is zeros, at next to no cost in
 * time and space where the form allows it. 0 or -errno; after an error the output is of no use. */
int output_write(struct output *o, uint64_t offset, const void *data, size_t len);
/* Ends the core at SIZE, and gives the size of the file, in bytes. */
int output_finish(struct output *o, uint64_t size, uint64_t *written);
/* NULL-safe; without output_finish() before, the file is left as it is, unfinished. */
void output_free(struct output **o);
#define _cleanup_output_ __attribute__((cleanup(output_free)))

/* Bytes that may still be given to O before its file system has less than KEEP_FREE left: INT64_MAX
 * where the file has none (a pipe), negative when it is below already. Near the limit, what O holds
 * back is written out first. 0 or -errno. */
int output_room(struct output *o, uint64_t keep_free, int64_t *room);
