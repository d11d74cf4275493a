/* SPDX-License-Identifier: MIT */
/* `coretrap why PID`: which rules see the process, what they see now, and why they have not
 * tripped. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct watching;

/* Tells who inquired (capture/broker.h) about process PID. */
void why_tell(const struct watching *w, uint64_t conversation, pid_t pid);
