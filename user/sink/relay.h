/* SPDX-License-Identifier: MIT */
/* A process that hands the feed's lines on. Whoever reads them may stop reading; the loop that
 * holds dying processes must not wait for that. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct relay;

/* Lines go to descriptor FD from now on, some MiB of them while nobody reads. 0 or -errno. */
int relay_open(int fd, struct relay **out);
/* Waits two seconds at most for the lines on their way. NULL-safe. */
void relay_close(struct relay *r);
/* One line, whole or not at all: one that finds no room is counted. -EPIPE, once, when the reader
 * is gone, or another -errno. */
int relay_send(struct relay *r, const char *line, size_t size);
/* Lines that found no room since relay_told(). */
uint64_t relay_lost(const struct relay *r);
void relay_told(struct relay *r);
