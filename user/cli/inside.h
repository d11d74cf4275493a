/* SPDX-License-Identifier: MIT */
/* Functions that the rules watch in each of their processes: found in what it has mapped, watched
 * being entered and left, and calls that take too long handed out as trips. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/targets.h"
#include "probe/functions.h"
#include "sink/function.h"

struct inside;

/* Some rule of the targets' is in rule_set_entering(). TARGETS is borrowed. 0 or -errno, as
 * functions_open(). */
int inside_open(const struct targets *targets, struct inside **out);
void inside_close(struct inside *i); /* NULL-safe; what was probed is no longer */
/* Readable when inside_pass() has something to do. */
int inside_fd(const struct inside *i);

/* A new target, or a new image of one. What is a target no longer forgets itself. 0, -ENOMEM, or
 * another -errno; what of its functions cannot be watched is told by inside_next_note(). */
int inside_watch(struct inside *i, const struct target *target);
/* It is being captured for that rule: what takes too long until the end of the next pass does not
 * count. */
void inside_restart(struct inside *i, pid_t pid, uint64_t start_ticks, size_t rule);

/* Looks at the calls under way if an interval has passed, and now and then whether the files are
 * still mapped. Drops the trips of the pass before. */
void inside_pass(struct inside *i);

struct inside_trip {
	size_t rule;
	pid_t pid;
	uint64_t start_ticks;
	struct function_report report;
};

/* The next trip of the last pass; what it points to lasts until the next pass. */
bool inside_next(struct inside *i, struct inside_trip *out);

/* Something of a function is not as it was asked for. */
struct inside_note {
	size_t rule;
	pid_t pid;
	uint64_t start_ticks;
	const char *function; /* of the rule */
	const char *reason;   /* static text */
	bool refused;	      /* it can never be watched in this image */
	char detail[512];     /* in words, with names of files: printable */
};

/* The next of those; once each. */
bool inside_next_note(struct inside *i, struct inside_note *out);

/* What has become of a function of a rule in one process; all of it is borrowed until the next
 * pass. */
struct inside_state {
	const char *state; /* "watched", "not-loaded", "refused", "put-off", "probe-rate": static
			      text */
	const char *file;  /* that it was found in, hostile; NULL: in none */
};

/* The function AT (from 0 on) of that rule; false: the process is not watched for it. */
bool inside_state(const struct inside *i, pid_t pid, uint64_t start_ticks, size_t rule, size_t at,
	struct inside_state *out);

/* As functions_losses(). */
int inside_losses(struct inside *i, struct probe_loss out[PROBE_LOSSES_MAX]);
