/* SPDX-License-Identifier: MIT */
/* What became of the trips, for the exit status. */
#pragma once

#include <stdint.h>

struct trip_counts {
	uint64_t tripped, captured;
	uint64_t failed; /* a capture was wanted and came to nothing */
};
