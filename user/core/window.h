/* SPDX-License-Identifier: MIT */
/* Plain bytes and holes into a descriptor; below the forms of output.h. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stretch {
	uint64_t start, end; /* offsets between which */
	uint64_t bytes;	     /* so many were written through the page cache */
};

struct window {
	int fd;		      /* borrowed */
	int directfd;	      /* the same file past the page cache; -1: it cannot be had */
	bool no_direct;	      /* atomic: it turned out to be of no use */
	bool seekable;	      /* a regular file, where holes are left out */
	uint64_t speed;	      /* bytes a second; 0: no limit */
	uint64_t began_ns;    /* CLOCK_MONOTONIC, when that began to hold */
	uint64_t paced;	      /* atomic: bytes since then */
	uint64_t at;	      /* into a pipe: bytes so far, zeros included */
	pthread_mutex_t lock; /* of what follows */
	struct stretch dirty; /* not on the way to the disk yet */
	struct stretch sent;  /* it is, and still in the page cache */
};

int window_open(int fd, struct window *out);
/* What is written to a seekable file from now on waits, so that it is at most SPEED bytes a second.
 */
void window_pace(struct window *w, uint64_t speed);
/* Puts LEN bytes at OFFSET; what is written nowhere is zeros. Where the file is seekable, in any
 * order and from several threads at once; else behind all that was written before. 0 or -errno. */
int window_write(struct window *w, uint64_t offset, const void *data, size_t len);
/* Ends the file at SIZE. */
int window_finish(struct window *w, uint64_t size);
void window_close(struct window *w);
