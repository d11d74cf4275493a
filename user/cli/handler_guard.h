/* SPDX-License-Identifier: MIT */
/* What bounds a crash handler: in time, in number, in what it may use. */
#pragma once

#include <stdint.h>

/* Starts a process that kills the calling one at DEADLINE_NS (CLOCK_MONOTONIC), whatever state that
 * is in then, and ends with it, also when it is replaced by exec. Its end of the tie, closed on
 * exec, is put into *tie: a forked child closes it. 0 or -errno. */
int guard_start(uint64_t deadline_ns, int *tie);

/* Takes one of the slots below RUNTIMEFD that bound how many captures run at once, first come first
 * served, until DEADLINE_NS. *fd holds the slot, also in forked children. -ETIMEDOUT: all are
 * taken. */
int guard_take_slot(int runtimefd, unsigned int slots, uint64_t deadline_ns, int *fd);

/* Below the ordinary priority for processor and disk, and into the cgroup at directory CGROUP
 * (NULL: stays). 0, or -errno of what could not be done; the rest is. */
int guard_step_back(const char *cgroup);
