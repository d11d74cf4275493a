/* SPDX-License-Identifier: MIT */
/* What the test programs share. They run only under tests/system. */
#pragma once

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define noinline __attribute__((noinline, noclone))

/* Says "ready PID" and, with -w as first argument (removed), waits for a line: so that a watch can
 * be armed on a process that already runs, and a test knows when it may look. */
static inline void target_ready(int *argc, char ***argv)
{
	int wait = *argc > 1 && strcmp((*argv)[1], "-w") == 0;
	char byte;

	if (wait) {
		(*argv)[1] = (*argv)[0];
		(*argc)--;
		(*argv)++;
	}
	dprintf(STDOUT_FILENO, "ready %d\n", (int)getpid());
	if (wait && read(STDIN_FILENO, &byte, 1) <= 0)
		exit(0);
}
