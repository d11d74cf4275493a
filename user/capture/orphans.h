/* SPDX-License-Identifier: MIT */
/* Clones that were left as zombies of the process they were made of, since every process of
 * coretrap that watched them was killed. A record of each attempt, written before it, finds them
 * again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/process.h"

/* Records that P is about to be cloned. 0 or -errno: nothing would find a clone that is left. */
int orphans_note(int runtimefd, const struct process *p);
/* Nothing of the noted clone is left. Earlier ones of P that still are stay recorded. */
void orphans_forget(int runtimefd, const struct process *p);
/* Something may be left of a clone of P. */
bool orphans_pending(int runtimefd, const struct process *p);
/* Reaps all that is left, each in a process of its own; blocks for milliseconds a clone, and for
 * a second where a process does not stop. */
void orphans_reap(int runtimefd);

struct orphan_record {	/* of the clones of one process, in ticks as of /proc/PID/stat */
	uint64_t since; /* before the first that may be left */
	uint64_t last;	/* before the last; the same: there is but one */
};

/* Parses what orphans_note() wrote; -EINVAL. Pure. */
int orphans_parse_record(const char *text, struct orphan_record *out);
/* The record after another clone at NOW; FOUND may be NULL: there is none yet. Pure. */
struct orphan_record orphans_next_record(const struct orphan_record *found, uint64_t now);

struct orphan_stat { /* of /proc/PID/stat */
	char state;
	pid_t ppid;
	uint64_t start_ticks;
	int exit_signal, exit_code;
};

/* Parses the line; -EINVAL. Pure. */
int orphans_parse_stat(const char *line, struct orphan_stat *out);
/* Whether a process that looks so is a clone that we made of PARENT at SINCE (ticks) or later, and
 * dead. Pure. */
bool orphans_is_ours(const struct orphan_stat *s, pid_t parent, uint64_t since);
