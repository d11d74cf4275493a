/* SPDX-License-Identifier: MIT */
/* Address ranges, in order and merged. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct range {
	uint64_t start, end; /* addresses, page aligned */
};

struct ranges {
	struct range *v;
	size_t n, room;
};

/* Adds [start, end), in any order; 0 or -ENOMEM. */
int ranges_add(struct ranges *r, uint64_t start, uint64_t end);
/* Sorts, and merges what overlaps or touches: to be called before the ranges are used. */
void ranges_settle(struct ranges *r);
void ranges_free(struct ranges *r);
#define _cleanup_ranges_ __attribute__((cleanup(ranges_free)))
