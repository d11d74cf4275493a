/* SPDX-License-Identifier: MIT */
/* The crash handler's last resort: what no rule wants goes where it went before coretrap. */
#pragma once

#include "capture/broker.h"
#include "target/process.h"

struct handler_passthrough {
	int runtimefd;
	const struct process *process;
	int taskfd;
	const struct broker_question *question;
	const char *cpu, *hostname; /* as the kernel gave them */
	int *tie; /* to the guard; closed where another process must not hold it */
};

/* Serves the process, whose core is unread on descriptor 0, by the pattern that was there before.
 * Does not return where that is a program. What came in the way goes to the log; 0, or -errno when
 * it is not even known what to do. */
int handler_pass_on(const struct handler_passthrough *h);
