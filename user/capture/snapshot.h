/* SPDX-License-Identifier: MIT */
/* A live process, held so that its core can be written: registers, mappings and memory of one
 * moment, whichever way they are had. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/holder.h"
#include "capture/limits.h"
#include "capture/notes.h"
#include "rules/decision.h"
#include "target/maps.h"
#include "target/memory.h"
#include "target/process.h"

struct snapshot_request {
	const struct process *process;
	enum snapshot_mode mode;
	bool stacks_only;      /* no memory but the stacks: the process goes on at once */
	const char *no_fork;   /* why it must not be cloned; NULL: it may */
	bool seccomp;	       /* it has a filter */
	bool may_stop;	       /* SNAPSHOT_AUTO: standing still is a way out; else stacks are */
	uint64_t max_pause_ns; /* 0: no limit */
	int runtimefd;	       /* where clones are recorded, -1: nowhere */
	const struct limits_size *size;
	pid_t first; /* the thread that comes first in the notes; 0: the leader */
};

struct snapshot_memory {      /* memory of the clone or of the stopped process */
	struct memory memory; /* what is handed on; first, so that it is found from there */
	struct memory image;
	struct memory live; /* of the process itself, for what a clone does not have */
	const struct maps *maps;
	const struct hold_shared *stopped; /* not NULL: what is read after the release is void */
	const int *cancelled;		   /* may be NULL; not 0: stop reading */
};

struct snapshot {
	const struct snapshot_request *request; /* borrowed */
	struct hold hold;
	struct snapshot_memory memory;
	struct maps maps;   /* with flags */
	struct notes notes; /* registers and the rest */
	int taskfd;	    /* /proc/PID/task/TID of a live thread */
	int stacksfd;	    /* copied stacks, -1: unwind from memory.image.memfd */
	json_t *remarks;    /* array of sentences for the incident */
};

/* Takes it. 0; -ESRCH: the process is gone; else REASON says why not. OUT must not move until
 * snapshot_free(). */
int snapshot_take(
	const struct snapshot_request *req, struct snapshot *out, char reason[FREEZE_REASON_MAX]);
/* "fork", "stop", or "none" where there is no memory. */
const char *snapshot_name(const struct snapshot *s);
/* The memory is no longer needed: the process goes on, the clone is ended and reaped. */
int snapshot_end(struct snapshot *s);
void snapshot_free(struct snapshot *s);
#define _cleanup_snapshot_ __attribute__((cleanup(snapshot_free)))
