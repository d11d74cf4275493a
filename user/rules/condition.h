/* SPDX-License-Identifier: MIT */
/* Thresholds of WHEN (DESIGN.md, section 4) and whether a process stands past them. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "probe/sampler.h"

enum condition_kind { /* also the order in which a trip names what it tripped on */
	CONDITION_CPU,
	CONDITION_CPU_BELOW,
	CONDITION_MEMORY,
	CONDITION_MEMORY_BELOW,
	CONDITION_MEMORY_GROWTH,
	CONDITION_THREADS,
	CONDITION_FDS,
	CONDITION_KINDS,
};

enum cpu_base {
	CPU_BASE_CORE,	  /* 100 % is one core */
	CPU_BASE_MACHINE, /* 100 % are all cores online */
	CPU_BASE_QUOTA, /* 100 % is what the cgroup's quota allows; all cores where there is none */
};

enum memory_base {
	MEMORY_BASE_ANONYMOUS, /* anonymous resident + swapped */
	MEMORY_BASE_RSS,       /* all resident (anonymous, file, shared) + swapped */
};

struct condition {
	/* CPU: thousandths of a percent. MEMORY: bytes, or with PERCENT thousandths of a percent of
	 * the cgroup's limit (the machine's memory where there is none). THREADS, FDS: how many. */
	uint64_t limit;
	bool percent;
	uint64_t within_ns; /* MEMORY_GROWTH: by LIMIT bytes in this time */
};

/* "cpu", "cpu-below" …: the names of the flags, of the YAML's keys and in events. */
const char *condition_name(enum condition_kind kind);

/* A sample, and beside it what was read because a rule needs it. */
struct measure {
	struct sample sample;
	uint64_t fds;		 /* USAGE_UNKNOWN: not read */
	uint64_t quota_ns;	 /* as usage_read_quota() */
	uint64_t memory_limit;	 /* bytes, as usage_read_memory_limit() */
	uint64_t machine_memory; /* bytes */
	uint64_t machine_cpus;	 /* online */
};

/* Each puts into *OUT the value in the unit of its condition's limit; false: it cannot be told. */

/* Of one core, all cores or the quota (what there is less of: quota or cores), over the time from
 * FROM to TO, two measures of one process. */
bool condition_cpu(
	const struct measure *from, const struct measure *to, enum cpu_base base, uint64_t *out);
/* Bytes. A process that has no memory any more is about to end, and tells nothing. */
bool condition_memory(const struct measure *m, enum memory_base base, uint64_t *out);
/* BYTES as thousandths of a percent of the least of the cgroup's limit and the machine. */
bool condition_memory_share(const struct measure *m, uint64_t bytes, uint64_t *out);

/* VALUE stands past the limit: at it or above, or for the conditions "below" under it. */
bool condition_is_past(enum condition_kind kind, const struct condition *c, uint64_t value);
