/* SPDX-License-Identifier: MIT */
/* What of a trigger says which function was not left: made, and told to a person.
 *
 * "function":"libc.so.6:fsync","file":"/usr/lib/…/libc.so.6","age_ms":2043,"tid":17,"waits_in":{…};
 * "running":true in place of waits_in where the thread is in no system call; "goroutine" of Go,
 * without a tid where no thread runs it; "folded": further calls that were too long since the trip
 * before, which were not told. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "target/wait.h"

struct function_report {
	const char *function; /* as the rule has it; borrowed */
	const char *file;     /* path of the file that it was found in, hostile; borrowed */
	uint64_t age_ns;
	uint64_t goroutine; /* 0: not known, or no Go */
	pid_t tid;	    /* 0: no thread has it */
	struct thread_wait wait;
	char *stack; /* the kernel's of that thread, a line a function; NULL: not known */
	uint64_t folded;
};

/* Adds to TRIGGER, "kind" as well. 0 or -ENOMEM. */
int function_put(json_t *trigger, const struct function_report *report);
/* "libc.so.6:fsync is not left for 2.04 s, in thread 17 (fsync)"; false, and nothing, where TRIGGER
 * is of another kind. */
bool function_print(FILE *out, const json_t *trigger);
