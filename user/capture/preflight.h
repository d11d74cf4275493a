/* SPDX-License-Identifier: MIT */
/* What can be told of a live process before it is touched: whether it may be captured, and whether
 * a clone of it may be made. */
#pragma once

#include <stdbool.h>

#include "capture/freeze.h"
#include "target/process.h"

/* The command name of `coretrap lab`, the one of coretrap's processes that may be captured. */
#define PREFLIGHT_LAB_COMM "coretrap-lab"

struct preflight {
	bool seccomp;			 /* it runs under a filter */
	char no_fork[FREEZE_REASON_MAX]; /* why it must not be cloned; "": it may */
	char refused[FREEZE_REASON_MAX]; /* why it is not captured at all; "": it may be */
	bool ended;			 /* REFUSED for that, or because it is about to end */
};

/* 0, or -EPERM (refused), -ESRCH (gone). */
int preflight_check(const struct process *p, struct preflight *out);

/* It runs coretrap, and not `coretrap lab`. */
bool preflight_is_own(const struct process *p);

/* What the text of /proc/PID/status and of its fdinfo says. Pure. */
void preflight_read_status(const char *status, struct preflight *out);
bool preflight_is_fork_monitored(const char *fdinfo);
