/* SPDX-License-Identifier: MIT */
/* The feed on standard output: JSON lines, or lines for a person. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "sink/relay.h"

struct feed {
	FILE *out;
	struct relay *relay; /* takes the lines to where OUT leads; NULL: they are written, and
				waited for */
	bool json;
	bool quiet;	   /* lines for a person: only captures and what went wrong */
	const char *store; /* for the command that opens a capture; NULL: the default store */
};

/* Writes one event and flushes. -EPIPE and the like when the reader is gone; what a relay has no
 * room for is counted there. */
int feed_write(const struct feed *f, const json_t *event);
/* The same for an event that is given away (NULL: there was no memory for it); a failure is logged.
 */
void feed_say(const struct feed *f, json_t *event);
