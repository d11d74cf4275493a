/* SPDX-License-Identifier: MIT */
#include "core/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Pages whose state is asked for at once: 32 MiB of memory. */
#define BLOCK_PAGES 8192UL

int walk_open(const struct plan *plan, struct memory *memory, struct walk *out)
{
	*out = (struct walk){.plan = plan, .memory = memory, .states = malloc(BLOCK_PAGES)};
	return out->states ? 0 : -ENOMEM;
}

void walk_close(struct walk *w)
{
	free(w->states);
	w->states = NULL;
}

/* The states of the next pages, as far as they matter. */
static int look_at_pages(struct walk *w, const struct segment *s, size_t pages)
{
	int r = -ENOSYS;

	if (s->untouched_is_zero)
		r = w->memory->pages(w->memory, w->at, pages, w->states);
	if (r == 0 && s->shared && w->memory->shared &&
		w->memory->shared(w->memory, s->shared, w->at, pages, w->states) < 0)
		w->unknown_shared = true;
	if (r == -ESRCH)
		return r;
	if (r < 0)
		memset(w->states, MEMORY_ANONYMOUS, pages);
	return 0;
}

/* A reservation of terabytes is passed at once. Pages of shared memory that only others touched
 * are in no page table of this process. */
static int skip(struct walk *w)
{
	const uint64_t from = w->at;
	int r = 0;

	if (w->segment->untouched_is_zero && !w->segment->shared && w->memory->skip)
		r = w->memory->skip(w->memory, &w->at, w->end);
	w->skipped += w->at - from;
	return r;
}

static int next_block(struct walk *w)
{
	uint64_t pages;
	int r;

	while (w->at == w->end) {
		if (w->next == w->plan->n)
			return 0;
		w->segment = plan_in_file(w->plan, w->next++);
		w->at = w->segment->start;
		w->end = w->at + w->segment->file_size;
	}
	r = skip(w);
	if (r < 0)
		return r;
	pages = (w->end - w->at) / MEMORY_PAGE;
	if (pages > BLOCK_PAGES)
		pages = BLOCK_PAGES;
	w->block = w->at;
	w->known = w->at + pages * MEMORY_PAGE;
	r = look_at_pages(w, w->segment, pages);
	return r < 0 ? r : 1;
}

static bool is_touched(const struct walk *w)
{
	return w->states[(w->at - w->block) / MEMORY_PAGE] != MEMORY_UNTOUCHED;
}

int walk_next(struct walk *w, size_t max, struct piece *out)
{
	uint64_t from;
	int r = w->at == w->known ? next_block(w) : 1;

	if (r <= 0)
		return r;
	from = w->at;
	while (w->at < w->known && !is_touched(w))
		w->at += MEMORY_PAGE;
	w->skipped += w->at - from;
	*out = (struct piece){.segment = w->segment, .start = w->at};
	while (w->at < w->known && w->at - out->start < max && is_touched(w))
		w->at += MEMORY_PAGE;
	out->end = w->at;
	return 1;
}
