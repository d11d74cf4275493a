/* SPDX-License-Identifier: MIT */
#include "core/copy.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "core/walk.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

/* What is read and written at once. Memory of one huge page is one stretch for the disk too: half
 * as long again is what writing it from scattered pages took. */
#define PIECE_SIZE (2UL << 20)
/* While one lane waits for the disk, others read. Into a stream, only one writes: a second one
 * reads ahead of it. */
#define LANES_MAX    3
#define STREAM_LANES 2

struct copier {
	const struct core_request *req;
	struct output *output;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t turned;
	struct walk walk;
	uint64_t taken;	 /* pieces, each with its number */
	uint64_t turn;	 /* the number of the piece that a stream gets next */
	uint64_t copied; /* bytes of pieces that are in the core */
	int error;	 /* of the output, or -ENOMEM */
	const struct plan *plan;
	bool *unreadable; /* a segment: whether some of it was */
	struct copy *result;
};

struct lane {
	struct copier *copier;
	pthread_t thread;
	char *buffer;	/* of PIECE_SIZE */
	uint64_t piece; /* the number of the one it has */
};

/* Runs of zero pages are left out: they become holes. The number of bytes that were written, or
 * -errno. */
static ssize_t put_pages(struct output *o, uint64_t offset, const char *data, size_t len)
{
	ssize_t written = 0;

	for (size_t at = 0; at < len;) {
		bool zero = io_is_zero(data + at, MEMORY_PAGE);
		size_t end = at + MEMORY_PAGE;
		int r = 0;

		while (end < len && io_is_zero(data + end, MEMORY_PAGE) == zero)
			end += MEMORY_PAGE;
		if (!zero)
			r = output_write(o, offset + at, data + at, end - at);
		if (r < 0)
			return r;
		written += zero ? 0 : (ssize_t)(end - at);
		at = end;
	}
	return written;
}

/* What all lanes can still take is counted in, so that the limit is kept, not crossed. */
static int check_room(struct copier *c)
{
	int64_t room = INT64_MAX;
	int r = 0;

	if (c->req->keep_free)
		r = output_room(c->output, c->req->keep_free, &room);
	if (room < (int64_t)((LANES_MAX + 1) * PIECE_SIZE))
		c->result->stop = COPY_DISK;
	return r;
}

static void report_progress(const struct copier *c)
{
	if (c->req->progress)
		c->req->progress(
			c->req->progress_arg, c->copied + c->walk.skipped, c->plan->memory_size);
}

static void lose_page(struct copier *c, const struct segment *s, uint64_t address)
{
	struct copy *result = c->result;
	bool *said = &c->unreadable[s - c->plan->v];

	if (s->optional)
		return;
	if (result->unreadable_pages++ == 0 || address < result->unreadable_first)
		result->unreadable_first = address;
	if (!*said)
		result->unreadable_segments++;
	*said = true;
}

/* Puts the first N bytes of P, which the lane has read; N <= 0: the first page could not be read.
 * Returns how far that is. */
static uint64_t put(struct lane *lane, const struct piece *p, ssize_t n)
{
	struct copier *c = lane->copier;
	uint64_t passed = n > 0 ? (uint64_t)n : MEMORY_PAGE;
	ssize_t written = 0;

	if (n > 0)
		written = put_pages(c->output, p->segment->offset + (p->start - p->segment->start),
			lane->buffer, (size_t)n);
	pthread_mutex_lock(&c->lock);
	if (n <= 0)
		lose_page(c, p->segment, p->start);
	if (written < 0) {
		c->error = (int)written;
	} else {
		c->result->copied += (uint64_t)written;
		c->copied += passed;
		report_progress(c);
	}
	pthread_mutex_unlock(&c->lock);
	return passed;
}

/* A stream gets the pieces in their order, from one lane at a time. Whether it gets this one at
 * all. */
static bool await_turn(struct lane *lane)
{
	struct copier *c = lane->copier;
	bool wanted;

	pthread_mutex_lock(&c->lock);
	while (!output_any_order(c->output) && c->turn != lane->piece)
		pthread_cond_wait(&c->turned, &c->lock);
	if (!c->error && c->result->stop != COPY_DISK) {
		int r = check_room(c);

		if (r < 0)
			c->error = r;
	}
	wanted = !c->error && c->result->stop != COPY_DISK;
	pthread_mutex_unlock(&c->lock);
	return wanted;
}

static void end_turn(struct copier *c)
{
	pthread_mutex_lock(&c->lock);
	c->turn++;
	pthread_cond_broadcast(&c->turned);
	pthread_mutex_unlock(&c->lock);
}

static void stop_gone(struct copier *c)
{
	pthread_mutex_lock(&c->lock);
	if (!c->result->stop)
		c->result->stop = COPY_GONE;
	pthread_mutex_unlock(&c->lock);
}

/* More than one read is needed only behind a page that cannot be read. */
static void copy_piece(struct lane *lane, struct piece p)
{
	struct copier *c = lane->copier;
	struct memory *m = c->req->memory;
	bool wanted = true;

	for (bool first = true; wanted && p.start < p.end; first = false) {
		ssize_t n = m->read(m, p.start, lane->buffer, p.end - p.start);

		if (first)
			wanted = await_turn(lane);
		if (n == -ESRCH) {
			stop_gone(c);
			break;
		}
		if (wanted)
			p.start += put(lane, &p, n > 0 ? n - n % MEMORY_PAGE : n);
	}
	end_turn(c);
}

/* Whether there is another piece, for this lane. An empty one is only a reason to look at the
 * clock. */
static bool take(struct lane *lane, struct piece *p)
{
	struct copier *c = lane->copier;
	struct copy *result = c->result;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (!c->error && !result->stop && c->req->deadline_ns &&
		clock_now_ns(CLOCK_MONOTONIC) >= c->req->deadline_ns)
		result->stop = COPY_DEADLINE;
	if (!c->error && !result->stop)
		r = walk_next(&c->walk, PIECE_SIZE, p);
	if (r < 0)
		result->stop = COPY_GONE;
	if (r > 0 && p->start == p->end)
		report_progress(c);
	else if (r > 0)
		lane->piece = c->taken++;
	pthread_mutex_unlock(&c->lock);
	return r > 0;
}

static void *run_lane(void *arg)
{
	struct lane *lane = arg;
	struct piece p;

	while (take(lane, &p))
		if (p.start < p.end)
			copy_piece(lane, p);
	return NULL;
}

/* Signals are for the threads that expect them. */
static bool start_lane(struct lane *lane)
{
	sigset_t all, before;
	bool started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&lane->thread, NULL, run_lane, lane) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

static bool set_up_lane(struct lane *lane, struct copier *c)
{
	*lane = (struct lane){.copier = c, .buffer = aligned_alloc(PIECE_SIZE, PIECE_SIZE)};
	if (lane->buffer)
		madvise(lane->buffer, PIECE_SIZE, MADV_HUGEPAGE);
	return lane->buffer != NULL;
}

/* One lane is this thread: where no other can be had, it does all. */
static int run_lanes(struct copier *c)
{
	const size_t most = output_any_order(c->output) ? LANES_MAX : STREAM_LANES;
	const size_t useful = 1 + c->plan->memory_size / PIECE_SIZE;
	struct lane lanes[LANES_MAX];
	size_t n = 0, started = 1;

	while (n < most && n < useful && set_up_lane(&lanes[n], c))
		n++;
	if (n == 0)
		return -ENOMEM;
	while (started < n && start_lane(&lanes[started]))
		started++;
	run_lane(&lanes[0]);
	for (size_t i = 1; i < started; i++)
		pthread_join(lanes[i].thread, NULL);
	for (size_t i = 0; i < n; i++)
		free(lanes[i].buffer);
	return c->error;
}

int copy_memory(const struct core_request *req, const struct plan *plan, struct output *output,
	struct copy *out)
{
	_cleanup_free_ bool *unreadable = calloc(plan->n + 1, sizeof(*unreadable));
	struct copier c = {
		.req = req,
		.output = output,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.turned = PTHREAD_COND_INITIALIZER,
		.plan = plan,
		.unreadable = unreadable,
		.result = out,
	};
	int r = walk_open(plan, req->memory, &c.walk);

	*out = (struct copy){0};
	if (r == 0)
		r = unreadable ? run_lanes(&c) : -ENOMEM;
	out->unknown_shared = c.walk.unknown_shared;
	if (out->stop)
		out->missing = plan->memory_size - c.copied - c.walk.skipped;
	walk_close(&c.walk);
	return r;
}
