/* SPDX-License-Identifier: MIT */
/* Event loops of the processes that the rules watch: looked at twenty times in the shortest limit,
 * and where that does not tell whether one goes round, probed behind its wait. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/targets.h"
#include "sink/stall.h"

struct stalls;

/* Some rule of the targets' is in rule_set_stalling(). TARGETS is borrowed. 0 or -errno. */
int stalls_open(const struct targets *targets, struct stalls **out);
void stalls_close(struct stalls *s); /* NULL-safe */
/* Readable when stalls_pass() has something to do. */
int stalls_fd(const struct stalls *s);

/* A new target, or a new image of one; nothing to do where none of its rules looks at loops. What
 * is a target no longer forgets itself. 0 or -ENOMEM. */
int stalls_watch(struct stalls *s, const struct target *target);
/* It is being captured: what is seen until the end of the next pass does not count. */
void stalls_restart(struct stalls *s, pid_t pid, uint64_t start_ticks);

/* Looks at the loops if it is time to. Drops the trips of the pass before. */
void stalls_pass(struct stalls *s);

struct stall_trip {
	size_t rule;
	pid_t pid;
	uint64_t start_ticks;
	struct stall_report report;
};

/* The next trip of the last pass; what it points to lasts until the next pass. */
bool stalls_next(struct stalls *s, struct stall_trip *out);

/* Of loops of this process that stall not all will be seen. */
struct stall_loss {
	pid_t pid;
	uint64_t start_ticks;
	const char *reason; /* as in events; this and DETAIL are static text */
	const char *detail;
};

/* The next of those of the last pass; those for good once a process. */
bool stalls_next_loss(struct stalls *s, struct stall_loss *out);
