/* SPDX-License-Identifier: MIT */
#include "capture/fault.h"

#ifdef FAULT_POINTS
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fault_point(const char *name)
{
	const char *wanted = getenv("CORETRAP_FAULT"), *who = getenv("CORETRAP_FAULT_WHO");
	const char *colon = wanted ? strchr(wanted, ':') : NULL;
	int count = colon ? atoi(colon + 1) : 1;
	char later[64];

	if (!wanted || strncmp(wanted, name, strlen(name)) != 0 ||
		(wanted[strlen(name)] != ':' && wanted[strlen(name)] != '\0'))
		return;
	if (count > 1) {
		snprintf(later, sizeof(later), "%s:%d", name, count - 1);
		setenv("CORETRAP_FAULT", later, 1);
		return;
	}
	unsetenv("CORETRAP_FAULT");
	if (who && strcmp(who, "self") != 0)
		kill(getppid(), SIGKILL);
	if (!who || strcmp(who, "parent") != 0)
		kill(getpid(), SIGKILL);
}
#endif
