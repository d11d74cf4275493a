/* SPDX-License-Identifier: MIT */
/* Keeps the sentinel's store within its bounds, in a process of its own: removing may block. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "store/retention.h"

struct janitor {
	const struct store *store; /* borrowed; NULL: there is nothing to do */
	struct retention keep;	   /* a bound of 0 is none */
	pid_t pid;		   /* at work; 0: none */
	bool again;		   /* something was captured since it began */
};

/* Something was captured. */
void janitor_call(struct janitor *j);
/* Once a second: reaps it, and starts it again where it was called meanwhile. */
void janitor_check(struct janitor *j);
/* What it is at gets two seconds, and is then broken off: the next start of a watch does the rest.
 */
void janitor_dismiss(struct janitor *j);
