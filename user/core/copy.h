/* SPDX-License-Identifier: MIT */
/* Copies the planned memory into the output, and keeps count of what could not be copied. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/core.h"
#include "core/output.h"
#include "core/plan.h"

enum copy_stop { /* why the rest was left out */
	COPY_NOT_STOPPED,
	COPY_GONE,
	COPY_DEADLINE,
	COPY_DISK,
};

struct copy {
	uint64_t copied;  /* bytes of memory, without holes */
	uint64_t missing; /* bytes planned that came after the stop */
	enum copy_stop stop;
	uint64_t unreadable_pages, unreadable_first; /* number; address of the first */
	size_t unreadable_segments;
	bool unknown_shared; /* pages of shared memory that only other processes touched may be
				missing */
};

/* 0, also when it was stopped: the output then has holes for the rest. -errno from the output, or
 * -ENOMEM. */
int copy_memory(const struct core_request *req, const struct plan *plan, struct output *output,
	struct copy *out);
