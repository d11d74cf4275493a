/* SPDX-License-Identifier: MIT */
/* The capture of a process that lives: preflight, snapshot, core, and the end of the snapshot. */
#pragma once

#include <jansson.h>

#include "capture/limits.h"
#include "capture/preflight.h"
#include "cli/profiling.h"
#include "rules/decision.h"
#include "target/process.h"

struct live_job {
	const struct process *process;
	pid_t tid; /* the trigger's thread, 0: the leader */
	const struct capture_options *what;
	const json_t *event;	  /* the trip */
	struct profiling *stacks; /* borrowed: as in capture_job */
	const char *trigger;	  /* for the entry's name: "manual" … */
	int output_fd;		  /* borrowed: as in capture_job */
	const int *cancelled;	  /* not 0: break off, and leave nothing behind; may be NULL */
	unsigned int at_once;	  /* captures of live processes on this host; 0: 1 */
	bool background;	  /* nobody waits for it: the writer takes what others leave */
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes; may be NULL */
	void *progress_arg;
};

/* What is known before anything is touched. */
struct live_plan {
	struct preflight preflight;
	struct limits_size size;
	struct capture_options what;	 /* as it will be */
	bool may_stop;			 /* where it cannot be cloned it may stand still instead */
	uint64_t pause_ns;		 /* expected */
	char changed[FREEZE_REASON_MAX]; /* why less is captured than was asked for; "" */
};

/* 0; -ESRCH: the process is gone; -EPERM: it is not to be captured, plan->preflight.refused says
 * why. */
int live_plan(
	const struct process *process, const struct capture_options *what, struct live_plan *plan);

/* Reaps the clones that captures left which were killed; for the start of what runs long. */
void live_reap_orphans(void);

/* Runs it; may block on disks. 0: *incident is the published capture event. -ESRCH: the process is
 * gone; -EPERM: it is not to be captured; *REASON is a sentence, to be freed. */
int live_capture(
	const struct live_job *job, const struct live_plan *plan, json_t **incident, char **reason);
