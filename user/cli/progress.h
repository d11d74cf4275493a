/* SPDX-License-Identifier: MIT */
/* A line on a terminal that says how far a capture is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool shown;		     /* there is a terminal, and a person reads it */
	uint64_t began_ns, drawn_ns; /* CLOCK_MONOTONIC */
};

/* Draws on standard error, ten times a second at most. */
void progress_draw(struct progress *p, uint64_t done, uint64_t total);
/* Wipes the line. */
void progress_end(struct progress *p);
/* "[####    ] 1.2 GiB of 4.0 GiB, 1.1 GiB/s, 3 s left" into BUF, which is returned. Pure. */
const char *progress_line(
	uint64_t done, uint64_t total, uint64_t elapsed_ns, char *buf, unsigned int size);
