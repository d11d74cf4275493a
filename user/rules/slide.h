/* SPDX-License-Identifier: MIT */
/* What was within a time that ends now: the least value, and how long something held. Pure, bounded
 * in size, times in nanoseconds of one clock that does not go back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slide_value {
	uint64_t time_ns, value;
};

/* The least value: only values that are lower than all after them are kept. */
struct slide_least {
	struct slide_value *v; /* a ring */
	size_t size, first, n;
	uint64_t within_ns, apart_ns;
};

/* For values INTERVAL_NS apart, or more often: of those that lie closer to each other than half of
 * that, or than half a SLIDE_MAX-th of WITHIN_NS, some are left out, and for so long the least may
 * be one that came so much later. 0 or -ENOMEM. */
#define SLIDE_MAX 1024u
int slide_least_init(struct slide_least *s, uint64_t within_ns, uint64_t interval_ns);
void slide_least_free(struct slide_least *s);
void slide_least_clear(struct slide_least *s);
void slide_least_add(struct slide_least *s, uint64_t now_ns, uint64_t value);
/* Of those not older than WITHIN_NS when the last one came; false: there is none. */
bool slide_least_get(const struct slide_least *s, uint64_t *value);

struct slide_span {
	uint64_t from_ns, to_ns;
};

/* How much of a window was held. */
struct slide_spans {
	struct slide_span *v; /* the oldest first, apart from each other */
	size_t n, size;
	uint64_t window_ns;
};

/* For what is looked at every INTERVAL_NS, or more often: at most SLIDE_MAX spans. Where there is
 * no room the two oldest become one, which ends when the second did and is as long as both, so that
 * it goes out of the window somewhat late. 0 or -ENOMEM. */
int slide_spans_init(struct slide_spans *s, uint64_t window_ns, uint64_t interval_ns);
void slide_spans_free(struct slide_spans *s);
void slide_spans_clear(struct slide_spans *s);
/* It held from FROM_NS to NOW_NS; spans come in order. */
void slide_spans_add(struct slide_spans *s, uint64_t from_ns, uint64_t now_ns);
/* Nanoseconds of the window that ends at NOW_NS. */
uint64_t slide_spans_held(struct slide_spans *s, uint64_t now_ns);
