/* SPDX-License-Identifier: MIT */
/* How long work has lain in a process' sockets: a pool that is exhausted reads nothing. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "probe/requests.h"

struct unread_state; /* of one process */

int unread_state_new(struct unread_state **out); /* 0 or -ENOMEM */
void unread_state_free(struct unread_state *s);	 /* NULL-safe */

/* What lies there now (requests_unread()). *WORST is the one of SOCKETS from which nothing was
 * taken for the longest, and *HELD_NS how long that is, as far as passes have seen it; NULL:
 * nothing waits. -ENOMEM. */
int unread_state_pass(struct unread_state *s, const struct unread *sockets, size_t n,
	uint64_t now_ns, const struct unread **worst, uint64_t *held_ns);
