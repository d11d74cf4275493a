/* SPDX-License-Identifier: MIT */
#include "lib/child.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/log.h"

#define LIMIT_NS	(2 * NSEC_PER_SEC)
#define SHORTEST_NAP_NS 50000 /* most are gone by then */
#define LONGEST_NAP_NS	(10 * NSEC_PER_MSEC)

void child_end(pid_t pid, const char *what)
{
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + LIMIT_NS;
	struct timespec nap = {.tv_nsec = SHORTEST_NAP_NS};

	kill(pid, SIGKILL);
	for (;;) {
		pid_t reaped = waitpid(pid, NULL, WNOHANG);

		if (reaped == pid || (reaped < 0 && errno != EINTR))
			return;
		if (clock_now_ns(CLOCK_MONOTONIC) >= end)
			break;
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < (long)LONGEST_NAP_NS)
			nap.tv_nsec *= 2;
	}
	log_warn("event=child what=%s pid=%d error=\"does not end by SIGKILL, and is left behind\"",
		what, pid);
}
