/* SPDX-License-Identifier: MIT */
/* Samples into folded stacks. */
#pragma once

#include "probe/perf_record.h"
#include "target/maps.h"

/* Unwinds the N samples of PROCESS (whose mappings were MAPS, if it is gone) within TIMEOUT_NS and
 * counts equal stacks: *TEXT (the caller's to free) has "comm;outermost;…;innermost COUNT" lines,
 * the most frequent first, *FOLDED is how many samples are in them. 0 or -errno. */
int profile_fold(const struct process *process, const struct maps *maps,
	const struct perf_sample *samples, size_t n, uint64_t timeout_ns, char **text,
	uint64_t *folded);
