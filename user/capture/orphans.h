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
/* Nothing of the clone is left. */
void orphans_forget(int runtimefd, const struct process *p);
/* Something may be left of it. */
bool orphans_pending(int runtimefd, const struct process *p);
/* Reaps all that is left, in a process of its own; blocks for milliseconds a clone. */
void orphans_reap(int runtimefd);

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
