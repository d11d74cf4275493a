/* SPDX-License-Identifier: MIT */
/* What the parts of spec share: the keys by number, and their values' parsers. */
#pragma once

#include <stdarg.h>

#include "rules/spec.h"

enum spec_id { /* in the order of spec_keys() */
	SPEC_PID,
	SPEC_NAME,
	SPEC_EXE,
	SPEC_CMDLINE,
	SPEC_USER,
	SPEC_CGROUP,
	SPEC_UNIT,
	SPEC_CONTAINER,
	SPEC_TREE,
	SPEC_ALL,
	SPEC_SIGNAL,
	SPEC_FIRST_CHANCE,
	SPEC_EXIT,
	SPEC_CPU,
	SPEC_CPU_BASE,
	SPEC_CPU_BELOW,
	SPEC_MEMORY,
	SPEC_MEMORY_BASE,
	SPEC_MEMORY_BELOW,
	SPEC_MEMORY_GROWTH,
	SPEC_THREADS,
	SPEC_FDS,
	SPEC_FOR,
	SPEC_INTERVAL,
	SPEC_ALL_OF,
	SPEC_REQUEST_SLOW,
	SPEC_REQUEST_PATH,
	SPEC_REQUEST_EXCLUDE,
	SPEC_REQUEST_COUNT,
	SPEC_REQUEST_SLOW_SHARE,
	SPEC_REQUEST_STATUS,
	SPEC_UNREAD,
	SPEC_STALL,
	SPEC_FUNCTION,
	SPEC_COUNT,
	SPEC_EVERY,
	SPEC_RATE,
	SPEC_DURATION,
	SPEC_MIN_AGE,
	SPEC_START,
	SPEC_END,
	SPEC_KIND,
	SPEC_SNAPSHOT,
	SPEC_MAX_PAUSE,
	SPEC_COMPRESS,
	SPEC_COMPRESS_THREADS,
	SPEC_OUTPUT,
	SPEC_FORCE,
	SPEC_COMMENT,
	SPEC_IGNORE_CORE_LIMIT,
	SPEC_OBSERVE,
	SPEC_BEFORE,
	SPEC_THEN,
	SPEC_IDS,
};

_Static_assert(SPEC_IDS <= 64, "struct spec's given has a bit for each");

#define SPEC_BIT(id) (1ULL << (id))

#define SPEC_INTERVAL_MIN_NS	 (50 * NSEC_PER_MSEC)
#define SPEC_INTERVAL_MAX_NS	 (3600 * NSEC_PER_SEC)
#define SPEC_INTERVAL_DEFAULT_NS (1 * NSEC_PER_SEC)

/* The keys that concern requests, and what waits or is waited for: as spec_set(). */
int spec_set_request(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX]);

/* As spec_set(). */
int spec_set_function(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX]);

/* Each parser of values: 0, or -EINVAL and WHY. A value is quoted there printable and cut. */
int spec_refuse(char why[SPEC_WHY_MAX], const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int spec_refuse_value(char why[SPEC_WHY_MAX], const char *value, const char *rest, ...)
	__attribute__((format(printf, 3, 4))); /* "'VALUE' REST" */
int spec_parse_time(const char *value, uint64_t *ns, char why[SPEC_WHY_MAX]);
/* "2026-11-24T09:00:00Z", or without the Z, a blank for the T, and seconds or not, in the host's
 * own time zone: CLOCK_REALTIME. */
int spec_parse_moment(const char *value, uint64_t *realtime_ns, char why[SPEC_WHY_MAX]);
int spec_parse_number(
	const char *value, uint64_t least, uint64_t most, uint64_t *out, char why[SPEC_WHY_MAX]);
int spec_parse_size(const char *value, uint64_t *bytes, char why[SPEC_WHY_MAX]);
int spec_parse_percent(
	const char *value, uint64_t most, uint64_t *thousandths, char why[SPEC_WHY_MAX]);
/* "A/TIME": what stands before the slash into HEAD, and the time; FORM is how it should look. */
int spec_parse_per_time(const char *value, const char *form, char head[static 64], uint64_t *ns,
	char why[SPEC_WHY_MAX]);
/* "SEGV,ABRT" into a mask, without those that are IMPOSSIBLE. */
int spec_parse_signals(
	const char *value, uint64_t impossible, uint64_t *mask, char why[SPEC_WHY_MAX]);
