/* SPDX-License-Identifier: MIT */
/* A library with one function, which takes as many milliseconds as it is told. */
#include <time.h>

int work(long ms);

int work(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	return clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, 0) == 0 ? 1 : 2;
}
