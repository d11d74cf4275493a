/* SPDX-License-Identifier: MIT */
#include "capture/fault.h"

#ifdef FAULT_POINTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fault_point(const char *name)
{
	const char *wanted = getenv("CORETRAP_FAULT");

	if (!wanted || strcmp(wanted, name) != 0)
		return;
	if (getenv("CORETRAP_FAULT_ALL"))
		kill(getppid(), SIGKILL);
	kill(getpid(), SIGKILL);
}
#endif
