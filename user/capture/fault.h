/* SPDX-License-Identifier: MIT */
/* Points at which `make faults` kills the process, to prove that nobody else suffers. They are
 * nothing at all in an ordinary build. */
#pragma once

#ifdef FAULT_POINTS
/* Kills the calling process (and, with CORETRAP_FAULT_ALL set, its parent before) when the
 * environment's CORETRAP_FAULT is NAME. */
void fault_point(const char *name);
#else
#define fault_point(name) ((void)(name))
#endif
