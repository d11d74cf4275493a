/* SPDX-License-Identifier: MIT */
#include "core/vast.h"

/* [START, END) of segment *I becomes one of its own; *I is then the rest behind it, if any. */
static int cut_out(struct plan *p, size_t *i, uint64_t start, uint64_t end)
{
	const bool rest = end < p->v[*i].end;
	int r = rest ? plan_cut(p, *i, end) : 0;

	if (r == 0 && start > p->v[*i].start) {
		r = plan_cut(p, *i, start);
		*i += r == 0;
	}
	if (r < 0)
		return r;
	p->v[*i].file_size = 0;
	p->memory_size -= end - start;
	p->left_out[PLAN_VAST].bytes += end - start;
	*i += rest;
	return 0;
}

/* Looks at every VAST_SIZE, which a stretch of twice that cannot slip through. */
static int leave_out_of(struct plan *p, size_t *i, struct memory *memory)
{
	const uint64_t end = p->v[*i].end;
	uint64_t at = p->v[*i].start, left = p->left_out[PLAN_VAST].bytes;
	int r = 0;

	while (r == 0 && end - at >= VAST_SIZE) {
		uint64_t next = at;

		if (memory->skip(memory, &next, end) < 0)
			break; /* gone: the copier says so */
		if (next - at >= VAST_SIZE)
			r = cut_out(p, i, at, next);
		else
			next = at + VAST_SIZE;
		at = next;
	}
	p->left_out[PLAN_VAST].mappings += p->left_out[PLAN_VAST].bytes > left;
	return r;
}

int vast_leave_out(struct plan *p, struct memory *memory)
{
	int r = 0;

	if (!memory->skip)
		return 0;
	for (size_t i = 0; r == 0 && i < p->n; i++) {
		const struct segment *s = &p->v[i];

		if (s->untouched_is_zero && !s->shared && s->file_size == s->end - s->start)
			r = leave_out_of(p, &i, memory);
	}
	return r;
}
