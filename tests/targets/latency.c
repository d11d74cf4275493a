/* SPDX-License-Identifier: MIT */
/* Prints the time, in nanoseconds since the epoch, and crashes. */
#include <time.h>

#include "target.h"

static noinline void crashes_at_known_time(void)
{
	*(volatile int *)0 = 1;
	__asm__ volatile("");
}

int main(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	dprintf(STDOUT_FILENO, "%lld%09ld\n", (long long)now.tv_sec, now.tv_nsec);
	crashes_at_known_time();
	return 0;
}
