/* SPDX-License-Identifier: MIT */
/* Walks the planned memory in the order of the file, and finds what of it there is to copy. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/plan.h"
#include "target/memory.h"

struct piece { /* of memory, all of it in one segment */
	const struct segment *segment;
	uint64_t start, end; /* addresses */
};

struct walk {
	const struct plan *plan;
	struct memory *memory;
	size_t next;		       /* segment in the file */
	const struct segment *segment; /* the one before; NULL at the begin */
	uint64_t at, end; /* addresses in it: to be looked at, and of what is in the core */
	uint64_t known;	  /* up to where states are known */
	uint8_t *states;  /* from BLOCK before KNOWN on; owned */
	uint64_t block;
	uint64_t skipped;    /* bytes passed that nobody ever touched */
	bool unknown_shared; /* pages of shared memory that only others touched may be missing */
};

/* PLAN and MEMORY are borrowed. 0 or -ENOMEM. */
int walk_open(const struct plan *plan, struct memory *memory, struct walk *out);
/* Gives at most MAX bytes to be copied, a multiple of the page size. 1; an empty piece where
 * nothing was found on the way so far, so that who waits can look at the time. 0 at the end, -ESRCH
 * when the process is gone. */
int walk_next(struct walk *w, size_t max, struct piece *out);
void walk_close(struct walk *w);
#define _cleanup_walk_ __attribute__((cleanup(walk_close)))
