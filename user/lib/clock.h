/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC  1000000000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_TICK 10000000ULL /* of start times in /proc: USER_HZ is 100 everywhere */

/* Nanoseconds of CLOCK_REALTIME, CLOCK_MONOTONIC or CLOCK_BOOTTIME. */
static inline uint64_t clock_now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* How far the kernel's own clock moves at a time: 1 s / CONFIG_HZ, which nothing else tells. */
static inline uint64_t clock_tick_ns(void)
{
	struct timespec ts;

	clock_getres(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_nsec;
}

/* One moment by two clocks: the one that nobody sets, and the one that outlasts a boot. */
struct clock_pair {
	uint64_t boot_ns; /* CLOCK_BOOTTIME */
	uint64_t real_ns; /* CLOCK_REALTIME */
};

static inline struct clock_pair clock_pair_now(void)
{
	return (struct clock_pair){clock_now_ns(CLOCK_BOOTTIME), clock_now_ns(CLOCK_REALTIME)};
}

/* "2026-11-23T09:00:00.123456789Z" into BUF (31 bytes), which is returned. */
const char *clock_rfc3339(uint64_t realtime_ns, char *buf, size_t size);
