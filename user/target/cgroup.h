/* SPDX-License-Identifier: MIT */
/* The control groups of a process, version 1 and 2: what binds it is the least of all of them, from
 * its own up to the root. */
#pragma once

#include <stdint.h>

#define CGROUP_ROOT	 "/sys/fs/cgroup"
#define CGROUP_UNBOUNDED UINT64_MAX

/* What one group leaves a process; DIRFD is its directory, VERSION 1 or 2. CGROUP_UNBOUNDED: it
 * sets no limit. */
typedef uint64_t cgroup_reader(int dirfd, int version);

/* The least that READ says of a group of the process (PROCFD: /proc/PID) in the hierarchies of
 * CONTROLLER
 * ("cpu", "memory") below ROOT; CGROUP_UNBOUNDED where there is none. */
uint64_t cgroup_least(const char *root, int procfd, const char *controller, cgroup_reader *read);

/* The number that a file of a group begins with; CGROUP_UNBOUNDED where it is absent, or says "max"
 * or less than 0. */
uint64_t cgroup_read_number(int dirfd, const char *name);

/* Readers. CPU time in nanoseconds per second of real time; bytes. */
uint64_t cgroup_quota(int dirfd, int version);
uint64_t cgroup_memory_limit(int dirfd, int version);
/* What may still be taken without being killed or slowed down for it, page cache that can be
 * dropped included. */
uint64_t cgroup_memory_left(int dirfd, int version);

/* The version, 1 or 2, of the frozen groups that the process is in, itself or by one above; 0:
 * there is none. Of version 1 nothing in them moves, not even to die; of version 2 they can be
 * traced and killed, but run nothing. ROOT and PROCFD as above. */
int cgroup_frozen(const char *root, int procfd);
