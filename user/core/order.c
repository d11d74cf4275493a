/* SPDX-License-Identifier: MIT */
/* In which order the segments lie in the file, and so are written: space, time and the process may
 * end before the core does, and what a person looks at first must be there by then. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/plan.h"
#include "lib/cleanup.h"
#include "target/memory.h"

#define RED_ZONE  128UL		/* below sp, the leaf function's (x86-64 psABI) */
#define CUT_ABOVE (16UL << 20)	/* bytes of a segment, from which on a stack is cut out of it */
#define STACK_MAX (1UL << 20)	/* bytes that are */
#define SMALL_MAX (256UL << 10) /* data of programs and libraries, the loader's lists */

enum rank {
	FIRST,
	SOON,
	LATER,
	RANKS
};

/* The index of the segment that ADDRESS lies in, or p->n. */
static size_t find(const struct plan *p, uint64_t address)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (p->v[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < p->n && p->v[low].start <= address ? low : p->n;
}

/* A goroutine's stack lies amid the heap, and newer C libraries put no gap between stacks: cuts the
 * frames at SP out of what is too large to come first. */
static int cut_stack(struct plan *p, uint64_t sp)
{
	const uint64_t start = (sp - RED_ZONE) & ~(uint64_t)(MEMORY_PAGE - 1);
	const uint64_t end = start + STACK_MAX;
	size_t i = find(p, sp);
	int r = 0;

	if (i == p->n || p->v[i].end - p->v[i].start <= CUT_ABOVE ||
		p->v[i].file_size != p->v[i].end - p->v[i].start)
		return 0;
	if (end > start && end < p->v[i].end)
		r = plan_cut(p, i, end);
	if (r == 0 && start > p->v[i].start && start < p->v[i].end)
		r = plan_cut(p, i, start);
	return r;
}

int plan_order(struct plan *p, const uint64_t *sp, size_t n)
{
	_cleanup_free_ uint8_t *ranks = NULL;
	size_t placed = 0;
	int r = n > 0 ? cut_stack(p, sp[0]) : 0;

	if (r < 0)
		return r;
	ranks = malloc(p->n + 1);
	p->order = calloc(p->n + 1, sizeof(*p->order));
	if (!ranks || !p->order)
		return -ENOMEM;
	for (size_t i = 0; i < p->n; i++)
		ranks[i] = p->v[i].file_size <= SMALL_MAX ? SOON : LATER;
	for (size_t i = 1; i < n; i++)
		ranks[find(p, sp[i])] = SOON; /* the element behind the last is for none */
	if (n > 0)
		ranks[find(p, sp[0])] = FIRST;
	for (unsigned int rank = FIRST; rank < RANKS; rank++)
		for (size_t i = 0; i < p->n; i++)
			if (ranks[i] == rank)
				p->order[placed++] = i;
	return 0;
}
