/* SPDX-License-Identifier: MIT */
#include "core/ranges.h"

#include <errno.h>
#include <stdlib.h>

int ranges_add(struct ranges *r, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	if (r->n == r->room) {
		size_t want = r->room ? r->room * 2 : 64;
		struct range *v = reallocarray(r->v, want, sizeof(*v));

		if (!v)
			return -ENOMEM;
		r->v = v;
		r->room = want;
	}
	r->v[r->n++] = (struct range){.start = start, .end = end};
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

void ranges_settle(struct ranges *r)
{
	size_t kept = 0;

	if (r->n < 2)
		return;
	qsort(r->v, r->n, sizeof(*r->v), by_start);
	for (size_t i = 1; i < r->n; i++) {
		struct range *last = &r->v[kept];

		if (r->v[i].start > last->end)
			r->v[++kept] = r->v[i];
		else if (r->v[i].end > last->end)
			last->end = r->v[i].end;
	}
	r->n = kept + 1;
}

void ranges_free(struct ranges *r)
{
	free(r->v);
	*r = (struct ranges){0};
}
