/* SPDX-License-Identifier: MIT */
/* Points at which `make faults` kills the process, to prove that nobody else suffers. They are
 * nothing at all in an ordinary build. */
#pragma once

#ifdef FAULT_POINTS
/* Kills the calling process when the environment's CORETRAP_FAULT is NAME:N and this is the Nth
 * time that any process of the command comes by: they count in the file CORETRAP_FAULT_COUNT, which
 * has one byte for each time. CORETRAP_FAULT_WHO: its parent instead ("parent"), or both ("both").
 */
void fault_point(const char *name);
#else
#define fault_point(name) ((void)(name))
#endif
