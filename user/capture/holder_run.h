/* SPDX-License-Identifier: MIT */
/* The inside of the holder process, and what it says. */
#pragma once

#include "capture/holder.h"

struct hold_report { /* then STATES_SIZE bytes of states */
	int error;
	int way;
	int dumpable;
	pid_t clone;
	uint64_t frozen_ns, pause_ns;
	uint64_t states, states_size;
	char reason[FREEZE_REASON_MAX];
};

struct hold_last {
	uint64_t pause_ns;
	bool reaped, broken_off;
	char dropped[FREEZE_REASON_MAX];
};

#define HOLD_RELEASE 'R'
#define HOLD_END     'E'

_Noreturn void holder_run(const struct hold_request *req, struct hold_shared *shared, int sock);
