/* SPDX-License-Identifier: MIT */
/* How much a store may keep, and what goes first when it is too much. */
#pragma once

#include <stdint.h>

#include "config/host_limits.h"
#include "store/store.h"

struct retention {	    /* 0: no bound */
	uint64_t max_bytes; /* of all captures, on disk */
	uint64_t keep_free; /* bytes of the file system that must stay free */
	uint64_t max_age_ns;
	uint64_t max_count;
};

/* What the limits of a host amount to on the file system of this store. 0 or -errno. */
int retention_of(const struct host_limits *limits, const struct store *s, struct retention *out);

/* Which of ITEMS (the newest first, as store_list() has them) is to go next, at NOW_NS
 * (CLOCK_REALTIME) and with AVAILABLE bytes free; items->n: none. What is too old first, then the
 * oldest of the process name with the most captures. Pure. */
size_t retention_choose(const struct retention *r, const struct store_items *items,
	uint64_t available, uint64_t now_ns);

/* Removes captures until the bounds hold; those that somebody is at stay. NAME (may be NULL) hears
 * of each. Returns how many went, or -errno. */
int retention_apply(const struct store *s, const struct retention *r,
	void (*name)(void *arg, const char *id), void *arg);
