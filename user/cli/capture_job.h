/* SPDX-License-Identifier: MIT */
/* From a process that is held (dying in the kernel, stopped, or a snapshot of it) to a capture:
 * stacks, core, store entry, incident. May block on disks, so it runs in a process of its own. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture/notes.h"
#include "rules/decision.h"
#include "target/process.h"

/* Left free on the file system that a capture goes to; see DESIGN.md, section 3, for the sentinel's
 * larger share. */
#define CAPTURE_KEEP_FREE (16ULL << 20)

struct capture_job {
	const struct process *process;
	int taskfd; /* /proc/PID/task/TID of the trigger's thread: memory is read through it */
	pid_t tid;
	const struct notes *notes; /* registers of all threads, the trigger's first */
	const struct capture_options *what;
	const json_t *event;  /* the trip; NULL: the incident tells only what /proc does */
	const char *trigger;  /* for the entry's name: "sigsegv" … */
	int signal;	      /* for the signature; 0: none is made */
	const char *snapshot; /* how it is held: "kernel", "fork", "stop" */
	int output_fd; /* borrowed: the store's directory, a file or a pipe, as what->form says */
	uint64_t held_ns;     /* CLOCK_MONOTONIC, when the holding began */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; past it the rest is left out */
	bool root_only; /* the process changed its ids: its core is root's (fs.suid_dumpable 2) */
};

/* Runs the job. 0: *incident is the published capture event (new reference). -errno: nothing is
 * left behind, but for a plain output file, which is emptied; *reason is a sentence, to be freed.
 */
int capture_job_run(const struct capture_job *job, json_t **incident, char **reason);
