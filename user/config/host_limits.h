/* SPDX-License-Identifier: MIT */
/* What all rules of the sentinel together may never do (DESIGN.md, section 3). One table: names,
 * values and defaults. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An absolute amount, a share of the whole, or both. */
struct limit_amount {
	uint64_t bytes;	       /* 0: not given */
	unsigned int per_cent; /* 0: not given */
};

struct host_limits {
	/* captures in 24 hours; 0: no limit */
	uint64_t rule_per_day, signature_per_day, host_per_day;
	uint64_t process_spacing_ns;	/* between two captures of a process; 0: none */
	uint64_t live_at_once;		/* captures of processes that run; at least 1 */
	uint64_t crash_at_once;		/* of processes that die; at least 1 */
	uint64_t write_speed;		/* bytes a second, each capture; 0: no limit */
	struct limit_amount store_size; /* the smaller of the two; neither: no limit */
	struct limit_amount store_free; /* of the store's file system, the larger of the two */
};

#define HOST_LIMIT_TEXT_MAX 64

extern const struct host_limits host_limits_default;

/* The name of limit I, in the order of the documentation; NULL behind the last. */
const char *host_limits_name(size_t i);
/* Limit I takes two values, a size and a share. */
bool host_limits_is_amount(size_t i);
/* Sets limit I to the N (at least one, not more than it takes) VALUES. 0, or -EINVAL and *WHY
 * (static text) says what it takes; *L is untouched then. */
int host_limits_set(
	struct host_limits *l, size_t i, const char *const *values, size_t n, const char **why);
/* Limit I as host_limits_set() takes it; both parts of an amount with ", " between them. */
void host_limits_format(const struct host_limits *l, size_t i, char text[HOST_LIMIT_TEXT_MAX]);
