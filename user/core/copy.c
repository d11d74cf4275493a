/* SPDX-License-Identifier: MIT */
#include "core/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/ahead.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define BUFFER_SIZE (1UL << 20)
/* Pages whose state is asked for at once: 32 MiB of memory. */
#define BLOCK_PAGES 8192UL

struct copier {
	const struct core_request *req;
	struct output *output;
	struct copy *result;
	uint64_t done, total;
	uint8_t *states; /* of BLOCK_PAGES */
	struct ahead *ahead;
};

static bool is_zero(const char *page)
{
	uint64_t first;

	/* Most pages with data show it at once; the rest compares the page with itself, one word
	 * on. */
	memcpy(&first, page, sizeof(first));
	return first == 0 && memcmp(page, page + sizeof(first), MEMORY_PAGE - sizeof(first)) == 0;
}

/* Runs of zero pages become holes, runs of others are written. */
static int put_pages(struct copier *c, const char *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		bool zero = is_zero(data + at);
		size_t end = at + MEMORY_PAGE;
		int r;

		while (end < len && is_zero(data + end) == zero)
			end += MEMORY_PAGE;
		r = zero ? output_hole(c->output, end - at)
			 : output_write(c->output, data + at, end - at);
		if (r < 0)
			return r;
		if (!zero)
			c->result->copied += end - at;
		at = end;
	}
	return 0;
}

static int check_limits(struct copier *c)
{
	const struct core_request *req = c->req;
	int64_t room = INT64_MAX;
	int r = 0;

	if (req->deadline_ns && clock_now_ns(CLOCK_MONOTONIC) >= req->deadline_ns) {
		c->result->stop = COPY_DEADLINE;
		return 0;
	}
	if (req->keep_free)
		r = output_room(c->output, req->keep_free, &room);
	/* What the next buffer can take is counted in, so that the limit is kept, not crossed. */
	if (room < (int64_t)(2 * BUFFER_SIZE))
		c->result->stop = COPY_DISK;
	return r;
}

static void lose_page(struct copier *c, const struct segment *s, uint64_t address, bool *said)
{
	struct copy *result = c->result;

	if (s->optional)
		return;
	if (result->unreadable_pages++ == 0)
		result->unreadable_first = address;
	if (!*said)
		result->unreadable_segments++;
	*said = true;
}

static size_t part_of(uint64_t start, uint64_t end)
{
	return end - start < BUFFER_SIZE ? end - start : BUFFER_SIZE;
}

/* Copies [start, end) of S, up to a stop, and sets *REACHED. */
static int copy_run(struct copier *c, const struct segment *s, uint64_t start, uint64_t end,
	bool *said, uint64_t *reached)
{
	int r = 0;

	while (r == 0 && start < end) {
		const char *data;
		ssize_t n;

		r = check_limits(c);
		if (r < 0 || c->result->stop)
			break;
		n = ahead_take(c->ahead, start, part_of(start, end), &data);
		if (n == -ESRCH) {
			c->result->stop = COPY_GONE;
			break;
		}
		if (n > 0)
			n -= n % MEMORY_PAGE;
		if (n > 0) {
			if (start + (uint64_t)n < end)
				ahead_start(c->ahead, start + (uint64_t)n,
					part_of(start + (uint64_t)n, end));
			r = put_pages(c, data, (size_t)n);
		} else {
			lose_page(c, s, start, said);
			n = MEMORY_PAGE;
			r = output_hole(c->output, MEMORY_PAGE);
		}
		start += (uint64_t)n;
	}
	*reached = start;
	return r;
}

/* The states of the next pages of S, as far as they matter. */
static void look_at_pages(struct copier *c, const struct segment *s, uint64_t at, size_t pages)
{
	int r = -ENOSYS;

	if (s->untouched_is_zero)
		r = c->req->memory->pages(c->req->memory, at, pages, c->states);
	if (r == 0 && s->shared && c->req->memory->shared &&
		c->req->memory->shared(c->req->memory, s->shared, at, pages, c->states) < 0)
		c->result->unknown_shared = true;
	if (r == -ESRCH)
		c->result->stop = COPY_GONE;
	else if (r < 0)
		memset(c->states, MEMORY_ANONYMOUS, pages);
}

static void advance(struct copier *c, uint64_t bytes)
{
	c->done += bytes;
	if (c->req->progress)
		c->req->progress(c->req->progress_arg, c->done, c->total);
}

static int copy_block(struct copier *c, const struct segment *s, uint64_t at, size_t pages,
	bool *said, uint64_t *reached)
{
	const uint64_t start = at;
	int r = check_limits(c);

	if (r == 0 && !c->result->stop)
		look_at_pages(c, s, at, pages);
	for (size_t i = 0; r == 0 && !c->result->stop && i < pages;) {
		bool untouched = c->states[i] == MEMORY_UNTOUCHED;
		size_t first = i;

		while (i < pages && (c->states[i] == MEMORY_UNTOUCHED) == untouched)
			i++;
		if (untouched) {
			at = start + i * MEMORY_PAGE;
			r = output_hole(c->output, (i - first) * MEMORY_PAGE);
		} else {
			r = copy_run(c, s, at, start + i * MEMORY_PAGE, said, &at);
		}
	}
	advance(c, at - start);
	*reached = at;
	return r;
}

static int copy_segment(struct copier *c, const struct segment *s)
{
	uint64_t at = s->start, end = s->start + s->file_size;
	bool said = false;

	while (at < end && !c->result->stop) {
		uint64_t pages = (end - at) / MEMORY_PAGE;
		int r = copy_block(c, s, at, pages < BLOCK_PAGES ? pages : BLOCK_PAGES, &said, &at);

		if (r < 0)
			return r;
	}
	c->result->missing += end - at;
	return output_hole(c->output, end - at);
}

int copy_memory(const struct core_request *req, const struct plan *plan, struct output *output,
	struct copy *out)
{
	_cleanup_free_ uint8_t *states = malloc(BLOCK_PAGES);
	_cleanup_ahead_ struct ahead *ahead = NULL;
	struct copier c = {
		.req = req,
		.output = output,
		.result = out,
		.total = plan->memory_size,
		.states = states,
	};
	int r = ahead_open(req->memory, BUFFER_SIZE, &ahead);

	*out = (struct copy){0};
	if (r < 0 || !states)
		return -ENOMEM;
	c.ahead = ahead;
	for (size_t i = 0; r == 0 && i < plan->n; i++)
		r = copy_segment(&c, plan_in_file(plan, i));
	return r;
}
