/* SPDX-License-Identifier: MIT */
/* From a process that is held (dying in the kernel, stopped, or a snapshot of it) to a capture:
 * stacks, core, store entry, incident. May block on disks, so it runs in a process of its own. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture/notes.h"
#include "cli/profiling.h"
#include "rules/decision.h"
#include "target/maps.h"
#include "target/memory.h"
#include "target/process.h"

/* Left free on the file system that a capture goes to; see DESIGN.md, section 3, for the sentinel's
 * larger share. */
#define CAPTURE_KEEP_FREE (16ULL << 20)

/* What a live process is captured from: a snapshot of it, or itself while it stands still. */
struct capture_source {
	struct memory *memory;
	const struct maps *maps; /* with flags, where memory is wanted */
	int stacksfd;		 /* memory to unwind from: as mem of /proc, but with holes */
	const json_t *remarks;	 /* sentences for the incident */
	bool hurry; /* the process stands still: its core comes first, its stacks were copied */
	/* The memory is needed no longer. Adds to CAPTURE and NOTES; *COMPLETE may become false.
	 * -errno: the capture is not wanted any more, *REASON (to be freed) says why. */
	int (*end)(void *arg, json_t *capture, json_t *notes, bool *complete, char **reason);
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* as in core_request */
	void *arg;
};

struct capture_job {
	const struct process *process;
	int taskfd; /* /proc/PID/task/TID of the trigger's thread: memory is read through it */
	pid_t tid;
	const struct notes *notes; /* registers of all threads, the trigger's first */
	const struct capture_options *what;
	const struct capture_source *source; /* NULL: memory and mappings are those of taskfd */
	const json_t *event;	  /* the trip; NULL: the incident tells only what /proc does */
	struct profiling *stacks; /* where it burned, NULL: not known; unwound at the very end */
	const char *trigger;	  /* for the entry's name: "sigsegv" … */
	int signal;		  /* for the signature; 0: none is made */
	const char *snapshot;	  /* how it is held: "kernel", "fork", "stop" */
	int output_fd; /* borrowed: the store's directory, a file or a pipe, as what->form says */
	uint64_t held_ns;     /* CLOCK_MONOTONIC, when the holding began */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; past it the rest is left out */
	bool root_only; /* the process changed its ids: its core is root's (fs.suid_dumpable 2) */
};

/* Runs the job. 0: *incident is the published capture event (new reference). -errno: nothing is
 * left behind, but for a plain output file, which is emptied; *reason is a sentence, to be freed.
 */
int capture_job_run(const struct capture_job *job, json_t **incident, char **reason);
