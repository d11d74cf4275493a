/* SPDX-License-Identifier: MIT */
/* Reads memory a buffer ahead, in a thread of its own: while one buffer is compressed or written,
 * the next one is filled. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/memory.h"

struct ahead;

/* MEMORY is borrowed, and read from two threads. -ENOMEM. Where no thread can be had, each read is
 * made when its bytes are asked for. */
int ahead_open(struct memory *memory, size_t buffer_size, struct ahead **out);
/* Begins to read LEN bytes (at most the buffer's size) at ADDRESS; the data handed out last stay as
 * they are until the next ahead_take(). Only one read is under way: the call before was taken. */
void ahead_start(struct ahead *a, uint64_t address, size_t len);
/* Up to LEN bytes at ADDRESS, started or not: their number and *DATA, which is the reader's, until
 * the call after the next ahead_start(); or -errno as of memory->read(). */
ssize_t ahead_take(struct ahead *a, uint64_t address, size_t len, const char **data);
void ahead_free(struct ahead **a);
#define _cleanup_ahead_ __attribute__((cleanup(ahead_free)))
