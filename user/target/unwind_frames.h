/* SPDX-License-Identifier: MIT */
/* Walks the stack of one thread. */
#pragma once

#include "target/unwind_session.h"

struct unwind_frame {
	uint64_t address; /* where execution goes on in that frame */
	uint64_t lookup;  /* where to look for its function: a byte before, behind a call */
};

struct unwind_trace {
	struct unwind_frame *frames; /* room for req->max_frames */
	size_t count;
	bool truncated;	     /* there were more */
	const char *stopped; /* why it ended early, NULL: at the thread's first function */
};

/* T->frames is the caller's. Never fails: at worst there is the one frame that the registers name.
 */
void unwind_frames_walk(
	struct unwind_session *s, const struct thread_registers *r, struct unwind_trace *t);
