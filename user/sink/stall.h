/* SPDX-License-Identifier: MIT */
/* What of a trigger says which event loop stalled: made, and told to a person.
 *
 * "stall": {"tid":17,"age_ms":1043,"loop":"epoll_wait","waits_in":{"call":"read","channel":
 * "pipe_read","stack":[…]}}; "runs":true in place of waits_in where the thread does not sleep. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "target/wait.h"

struct stall_report {
	pid_t tid;
	uint64_t age_ns;
	long loop; /* the call in which it waits while all is well */
	struct thread_wait wait;
	char *stack; /* the kernel's of that thread, a line a function; NULL: not known */
};

/* Adds to TRIGGER, "kind" as well. 0 or -ENOMEM. */
int stall_put(json_t *trigger, const struct stall_report *report);
/* "event loop (epoll_wait) has not gone back for 1.04 s, in thread 17 (read)"; false, and nothing,
 * where TRIGGER is of another kind. */
bool stall_print(FILE *out, const json_t *trigger);
