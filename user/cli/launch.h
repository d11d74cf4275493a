/* SPDX-License-Identifier: MIT */
/* `-- COMMAND`: started, but held before its exec until it is watched. */
#pragma once

#include <sys/types.h>

struct launch {
	pid_t pid;     /* 0: none, or reaped */
	int release;   /* write end: one byte lets it go; closed, it gives up */
	int complaint; /* read end: errno of a failed exec, nothing after a good one */
};

#define LAUNCH_NONE ((struct launch){.release = -1, .complaint = -1})

/* Forks; 0 or -errno. */
int launch_prepare(char **command, struct launch *out);
/* Lets it run: 0, or -errno of its exec (said on standard error). Nothing to do without a command.
 */
int launch_release(struct launch *l);
/* Reaps it when it has ended. */
void launch_reap(struct launch *l);
/* A command that was never released ends; one that runs goes on. */
void launch_close(struct launch *l);
