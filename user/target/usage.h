/* SPDX-License-Identifier: MIT */
/* What a process uses and may use, as far as /proc and cgroupfs tell; read only for rules that need
 * it. */
#pragma once

#include <stdint.h>

#include "target/process.h"

#define USAGE_UNKNOWN UINT64_MAX

/* Open descriptors; USAGE_UNKNOWN where they cannot be counted. */
uint64_t usage_read_fds(int procfd);
/* CPU time per second of real time that its cgroups allow it, in nanoseconds (half a core:
 * 500000000): the least from its own group up to the root, version 1 or 2; USAGE_UNKNOWN: no quota.
 */
uint64_t usage_read_quota(int procfd);
/* Bytes of memory that its cgroups allow it: the least up to the root, version 1 or 2;
 * USAGE_UNKNOWN: no limit. */
uint64_t usage_read_memory_limit(int procfd);
