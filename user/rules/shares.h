/* SPDX-License-Identifier: MIT */
/* Which threads used a process' time: the difference of two looks at them. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "probe/sampler.h"

#define SHARES_TOP 10 /* more are only summed up */

struct share {
	pid_t tid;
	char comm[16];
	uint64_t used_ns;
	uint64_t share; /* thousandths of a percent of what the process used */
	uint64_t cpu;	/* thousandths of a percent of a core */
};

/* The threads of a process at one moment, and what it had used by then. */
struct shares_look {
	struct thread_sample *threads;
	size_t n;
	uint64_t time_ns; /* as a sample's */
	uint64_t cpu_ns;  /* of the process, threads that have ended included */
};

struct shares {
	struct share top[SHARES_TOP]; /* those that used anything, the most first */
	size_t n;
	size_t more;   /* live threads that used something and are not in TOP */
	uint64_t rest; /* what is not in TOP, as a share: of those, and of threads that ended */
	uint64_t window_ns;
};

/* Uses up the threads of TO, and sorts those of FROM. A thread that is in TO alone has used all it
 * has since FROM. */
void shares_compute(
	const struct shares_look *from, const struct shares_look *to, struct shares *out);
