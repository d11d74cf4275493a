/* SPDX-License-Identifier: MIT */
#include "rules/slide.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Values that come every INTERVAL_NS within such a time, at most SLIDE_MAX. */
static size_t samples_in(uint64_t within_ns, uint64_t interval_ns)
{
	uint64_t n = interval_ns ? within_ns / interval_ns : SLIDE_MAX;

	return n < SLIDE_MAX ? (size_t)n + 1 : SLIDE_MAX;
}

int slide_least_init(struct slide_least *s, uint64_t within_ns, uint64_t interval_ns)
{
	size_t steps = 2 * samples_in(within_ns, interval_ns);
	struct slide_value *v = calloc(steps + 3, sizeof(*v));

	if (!v)
		return -ENOMEM;
	*s = (struct slide_least){
		.v = v, .size = steps + 3, .within_ns = within_ns, .apart_ns = within_ns / steps};
	return 0;
}

void slide_least_free(struct slide_least *s)
{
	free(s->v);
	*s = (struct slide_least){};
}

void slide_least_clear(struct slide_least *s)
{
	s->first = s->n = 0;
}

static struct slide_value *nth(const struct slide_least *s, size_t i)
{
	return &s->v[(s->first + i) % s->size];
}

void slide_least_add(struct slide_least *s, uint64_t now_ns, uint64_t value)
{
	if (!s->size)
		return;
	while (s->n && now_ns - nth(s, 0)->time_ns > s->within_ns) {
		s->first = (s->first + 1) % s->size;
		s->n--;
	}
	while (s->n && nth(s, s->n - 1)->value >= value)
		s->n--;
	/* The last gives way where it lies too close behind the one before it. */
	if (s->n >= 2 && nth(s, s->n - 1)->time_ns - nth(s, s->n - 2)->time_ns < s->apart_ns)
		s->n--;
	if (s->n == s->size) /* only where APART_NS was rounded to next to nothing */
		s->n--;
	*nth(s, s->n++) = (struct slide_value){now_ns, value};
}

bool slide_least_get(const struct slide_least *s, uint64_t *value)
{
	if (!s->n)
		return false;
	*value = nth(s, 0)->value;
	return true;
}

int slide_spans_init(struct slide_spans *s, uint64_t window_ns, uint64_t interval_ns)
{
	size_t size = samples_in(window_ns, interval_ns) / 2 + 2; /* spans have gaps between them */
	struct slide_span *v = calloc(size, sizeof(*v));

	if (!v)
		return -ENOMEM;
	*s = (struct slide_spans){.v = v, .size = size, .window_ns = window_ns};
	return 0;
}

void slide_spans_free(struct slide_spans *s)
{
	free(s->v);
	*s = (struct slide_spans){};
}

void slide_spans_clear(struct slide_spans *s)
{
	s->n = 0;
}

static void drop_oldest(struct slide_spans *s)
{
	memmove(s->v, s->v + 1, --s->n * sizeof(*s->v));
}

void slide_spans_add(struct slide_spans *s, uint64_t from_ns, uint64_t now_ns)
{
	if (s->n && s->v[s->n - 1].to_ns >= from_ns) {
		s->v[s->n - 1].to_ns = now_ns;
		return;
	}
	if (s->n == s->size) {
		s->v[1].from_ns -= s->v[0].to_ns - s->v[0].from_ns;
		drop_oldest(s);
	}
	s->v[s->n++] = (struct slide_span){from_ns, now_ns};
}

uint64_t slide_spans_held(struct slide_spans *s, uint64_t now_ns)
{
	uint64_t begin = now_ns > s->window_ns ? now_ns - s->window_ns : 0, held = 0;

	while (s->n && s->v[0].to_ns <= begin)
		drop_oldest(s);
	if (s->n && s->v[0].from_ns < begin)
		s->v[0].from_ns = begin;
	for (size_t i = 0; i < s->n; i++)
		held += s->v[i].to_ns - s->v[i].from_ns;
	return held;
}
