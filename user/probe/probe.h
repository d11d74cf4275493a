/* SPDX-License-Identifier: MIT */
/* The kernel side, loaded and attached. When its owner dies, everything detaches by itself. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "probe/event.h"

struct bpf_map;
struct probe;

struct probe_options {
	uint64_t fatal_mask;	    /* deaths of these signals are reported */
	uint64_t first_chance_mask; /* signals reported when a handler takes them */
	bool watch_unmarked;	    /* report processes nobody has judged yet */
	bool report_exec; /* EVENT_EXEC and EVENT_EXIT of every process that is not ignored
			   */
};

/* Loads and attaches. 0 or -errno: -EPERM (privileges), -ENOENT (kernel without BTF or the
 * tracepoints) … The reason libbpf gives goes to the log at level debug. */
int probe_open(const struct probe_options *options, struct probe **out);
void probe_close(struct probe *p); /* NULL-safe */

/* Readable when there are events. */
int probe_fd(const struct probe *p);
/* The next event: 1 and *out (event_free()), 0: none now, -errno. In the order in which things
 * happened. */
int probe_next(struct probe *p, struct event **out);

enum probe_verdict {
	PROBE_IGNORE,
	PROBE_WATCH,	   /* this process, whatever it executes */
	PROBE_WATCH_TREE,  /* and all that descends from it, from now on */
	PROBE_WATCH_FORKS, /* and its forks, until an exec makes another program of them */
};

/* Says which process (pid and start) is of interest. EXEC_ID is of use only to PROBE_IGNORE, which
 * ends with the image. -E2BIG when the table is full: the process stays unmarked. */
int probe_mark(struct probe *p, pid_t pid, uint64_t start_ticks, uint64_t exec_id,
	enum probe_verdict verdict);

void probe_unmark(struct probe *p, pid_t pid);

/* Other parts of the kernel side see the same marks: to be called with their maps "marks" and
 * "mark_hints" before those are loaded. 0 or -errno. */
int probe_share_marks(const struct probe *p, struct bpf_map *marks, struct bpf_map *hints);

/* Records lost since the last call, by reason; the name is static text. Returns the number of
 * reasons filled. */
struct probe_loss {
	const char *reason;
	uint64_t count;
};
#define PROBE_LOSSES_MAX 12
int probe_losses(struct probe *p, struct probe_loss out[PROBE_LOSSES_MAX]);
