/* SPDX-License-Identifier: MIT */
/* What a capture would cost, and what the host can spare. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/cgroup.h"
#include "target/process.h"

struct limits_size {	    /* of a process, as /proc tells */
	uint64_t resident;  /* bytes: what a full core holds */
	uint64_t anonymous; /* bytes that a clone shares copy-on-write: resident and swapped */
	uint64_t huge;	    /* bytes of ANONYMOUS in huge pages */
	uint64_t threads;
};

struct limits_host {
	uint64_t memory, available; /* bytes, MemTotal and MemAvailable */
	double pressure; /* percent of the last 10 s in which something waited for memory */
};

#define LIMITS_NO_BOUND CGROUP_UNBOUNDED

/* Reads it below PROCFD; what cannot be read is 0. */
void limits_read_size(int procfd, struct limits_size *out);
/* Bytes of AnonHugePages of the process. */
uint64_t limits_read_huge(int procfd);
void limits_read_host(struct limits_host *out);
/* Bytes that the memory cgroups of the process can still take without its being killed or slowed
 * down, page cache that can be dropped included; LIMITS_NO_BOUND where none bounds it. */
uint64_t limits_read_headroom(int procfd);

/* How long a process of that size stands still for a clone, or until it is written. Pure. */
uint64_t limits_fork_pause(const struct limits_size *s);
uint64_t limits_stop_pause(const struct limits_size *s, bool compressed);

/* Why only stacks may be taken of a host in this state; NULL: more may be. Pure, static text. */
const char *limits_host_obstacle(const struct limits_host *h);
/* Why a process must not be cloned with HEADROOM bytes; NULL: it may be. Pure, static text. */
const char *limits_clone_obstacle(const struct limits_size *s, uint64_t headroom);
/* Why a clone that exists must be given up; NULL: it may stay. Pure, static text. */
const char *limits_drop_reason(
	const struct limits_host *h, const struct limits_size *s, uint64_t headroom);

/* Takes one of N slots (0: 1) for captures of live processes: *FD holds it. -EBUSY: others have
 * them. */
int limits_take_slot(int runtimefd, unsigned int n, int *fd);
