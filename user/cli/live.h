/* SPDX-License-Identifier: MIT */
/* The capture of a process that lives: preflight, snapshot, core, and the end of the snapshot. */
#pragma once

#include <jansson.h>

#include "rules/decision.h"
#include "target/process.h"

struct live_job {
	const struct process *process;
	pid_t tid; /* the trigger's thread, 0: the leader */
	const struct capture_options *what;
	const json_t *event;  /* the trip */
	const char *trigger;  /* for the entry's name: "manual" … */
	int output_fd;	      /* borrowed: as in capture_job */
	const int *cancelled; /* not 0: break off, and leave nothing behind; may be NULL */
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes; may be NULL */
	void *progress_arg;
};

/* Runs it; may block on disks. 0: *incident is the published capture event. -ESRCH: the process is
 * gone; -EPERM: it is not to be captured; *REASON is a sentence, to be freed. */
int live_capture(const struct live_job *job, json_t **incident, char **reason);
