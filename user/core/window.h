/* SPDX-License-Identifier: MIT */
/* Plain bytes and holes into a descriptor; below the forms of output.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct window {
	int fd;		  /* borrowed */
	int directfd;	  /* the same file past the page cache; -1: it cannot be had */
	bool seekable;	  /* a regular file, where holes are left out */
	uint64_t at;	  /* bytes of the file so far, holes included */
	uint64_t sent;	  /* up to here, writing to the disk was started */
	uint64_t dropped; /* up to here, pages are on the disk and out of the page cache */
};

int window_open(int fd, struct window *out);
int window_write(struct window *w, const void *data, size_t len);
int window_hole(struct window *w, uint64_t len);
int window_finish(struct window *w);
void window_close(struct window *w);
