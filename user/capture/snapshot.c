/* SPDX-License-Identifier: MIT */
#include "capture/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "capture/fault.h"
#include "capture/orphans.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

/* Threads that do not stop (a vfork parent, a dead disk) keep the others standing this long. */
#define FREEZE_NS (500 * NSEC_PER_MSEC)
#define ORPHAN_NS (200 * NSEC_PER_MSEC)

/* Mappings whose bytes a clone has not got: read from the process, at another moment. */
#define ONLY_LIVE (MAPPING_DONTFORK | MAPPING_WIPEONFORK)

__attribute__((format(printf, 2, 3))) static int remark(struct snapshot *s, const char *format, ...)
{
	json_t *text;
	va_list args;

	va_start(args, format);
	text = json_vsprintf(format, args);
	va_end(args);
	return json_array_append_new(s->remarks, text) < 0 ? -ENOMEM : 0;
}

static bool is_void(const struct snapshot_memory *m)
{
	return (m->stopped && __atomic_load_n(&m->stopped->released, __ATOMIC_SEQ_CST)) ||
	       (m->cancelled && __atomic_load_n(m->cancelled, __ATOMIC_RELAXED));
}

static struct memory *source(struct snapshot_memory *m, uint64_t address, size_t *len)
{
	const struct mapping *mapping;

	if (!m->live.read)
		return &m->image;
	mapping = maps_find(m->maps, address);
	if (!mapping)
		return &m->image;
	if (*len > mapping->end - address)
		*len = mapping->end - address;
	return (mapping->flags & ONLY_LIVE) ? &m->live : &m->image;
}

static ssize_t read_memory(struct memory *memory, uint64_t address, void *buf, size_t len)
{
	struct snapshot_memory *m = (struct snapshot_memory *)memory;
	struct memory *from = source(m, address, &len);
	ssize_t n = is_void(m) ? -ESRCH : from->read(from, address, buf, len);

	/* Looked at behind the read: a release meanwhile spoils it. */
	return is_void(m) ? -ESRCH : n;
}

static int read_pages(struct memory *memory, uint64_t address, size_t pages, uint8_t *states)
{
	struct snapshot_memory *m = (struct snapshot_memory *)memory;
	int r = 0;

	while (r == 0 && pages) {
		size_t len = pages * MEMORY_PAGE;
		struct memory *from = source(m, address, &len);

		r = is_void(m) ? -ESRCH : from->pages(from, address, len / MEMORY_PAGE, states);
		address += len;
		states += len / MEMORY_PAGE;
		pages -= len / MEMORY_PAGE;
	}
	return r;
}

static int skip_pages(struct memory *memory, uint64_t *address, uint64_t end)
{
	struct snapshot_memory *m = (struct snapshot_memory *)memory;
	size_t len = end - *address;
	struct memory *from = source(m, *address, &len);

	return is_void(m) ? -ESRCH : from->skip(from, address, *address + len);
}

static bool same(const struct mapping *a, const struct mapping *b)
{
	return a && a->start == b->start && a->end == b->end && a->offset == b->offset &&
	       a->inode == b->inode && a->prot == b->prot;
}

static bool add_mapping(struct maps *to, const struct mapping *m)
{
	struct mapping *v = reallocarray(to->v, to->n + 1, sizeof(*v));
	size_t at = to->n;

	if (!v)
		return false;
	to->v = v;
	while (at > 0 && v[at - 1].start > m->start)
		at--;
	memmove(&v[at + 1], &v[at], (to->n - at) * sizeof(*v));
	v[at] = *m;
	v[at].name = strdup(m->name);
	to->n++;
	return v[at].name != NULL;
}

/* Adds the mappings that the process keeps from its clones (MADV_DONTFORK): it had them before, has
 * them still, and the clone has not. */
static int add_not_forked(struct snapshot *s, const struct maps *before)
{
	_cleanup_maps_ struct maps now = {0};
	uint64_t bytes = 0;
	int r;

	for (size_t i = 0; i < before->n; i++)
		if (!maps_find(&s->maps, before->v[i].start) &&
			strcmp(before->v[i].name, "[vsyscall]") != 0)
			bytes += before->v[i].end - before->v[i].start;
	if (!bytes)
		return 0;
	r = maps_read(s->taskfd, true, &now);
	if (r < 0)
		return 0; /* gone: the clone goes with it */
	bytes = 0;
	for (size_t i = 0; i < now.n; i++) {
		const struct mapping *m = &now.v[i];

		if (!(m->flags & MAPPING_DONTFORK) || maps_find(&s->maps, m->start) ||
			!same(maps_find(before, m->start), m))
			continue;
		if (!add_mapping(&s->maps, m))
			return -ENOMEM;
		bytes += m->end - m->start;
	}
	return bytes ? remark(s, "live, not of the snapshot: %" PRIu64 " bytes MADV_DONTFORK",
			       bytes)
		     : 0;
}

static int remark_live(struct snapshot *s)
{
	uint64_t shared = 0, wiped = 0;
	int r = 0;

	for (size_t i = 0; i < s->maps.n; i++) {
		const struct mapping *m = &s->maps.v[i];

		if ((m->flags & MAPPING_SHARED) && (m->prot & PROT_WRITE))
			shared += m->end - m->start;
		if (m->flags & MAPPING_WIPEONFORK)
			wiped += m->end - m->start;
	}
	if (shared)
		r = remark(s,
			"live, not of the snapshot: %" PRIu64 " bytes of shared writable mappings",
			shared);
	if (r == 0 && wiped)
		r = remark(
			s, "live, not of the snapshot: %" PRIu64 " bytes MADV_WIPEONFORK", wiped);
	return r;
}

static int open_image(struct snapshot *s, const struct maps *before)
{
	_cleanup_close_ int clonefd = -1;
	char path[32];
	int r;

	s->memory.memory = (struct memory){.read = read_memory,
		.pages = read_pages,
		.skip = skip_pages,
		.memfd = -1,
		.pagemapfd = -1};
	s->memory.maps = &s->maps;
	if (s->hold.way != HOLD_FORK) {
		if (s->hold.way == HOLD_STOP)
			s->memory.stopped = s->hold.shared;
		r = maps_read(s->taskfd, s->hold.way == HOLD_STOP, &s->maps);
		return r == 0 ? memory_open(s->taskfd, &s->memory.image) : r;
	}
	snprintf(path, sizeof(path), "/proc/%d", s->hold.clone);
	clonefd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (clonefd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	r = memory_open(clonefd, &s->memory.image);
	if (r == 0)
		r = maps_read(clonefd, true, &s->maps);
	if (r == 0 && s->maps.n == 0)
		r = -ESRCH;
	if (r == 0)
		r = memory_open(s->taskfd, &s->memory.live);
	if (r == 0)
		r = add_not_forked(s, before);
	return r == 0 ? remark_live(s) : r;
}

static int hold(const struct snapshot_request *req, struct snapshot *s, const struct maps *before)
{
	struct hold_request h = {.process = req->process,
		.taskfd = s->taskfd,
		.maps = before,
		.way = req->stacks_only		    ? HOLD_MOMENT
		       : req->mode == SNAPSHOT_STOP ? HOLD_STOP
						    : HOLD_FORK,
		.otherwise = req->mode != SNAPSHOT_AUTO ? HOLD_FORK
			     : req->may_stop		? HOLD_STOP
							: HOLD_MOMENT,
		.no_fork = req->no_fork,
		.seccomp = req->seccomp,
		.freeze_ns = FREEZE_NS,
		.max_pause_ns = req->max_pause_ns,
		.size = req->size};

	if (req->max_pause_ns && req->max_pause_ns < h.freeze_ns)
		h.freeze_ns = req->max_pause_ns;
	s->stacksfd = (int)memfd_create("coretrap-stacks", MFD_CLOEXEC);
	if (s->stacksfd < 0)
		return -errno;
	h.stacksfd = s->stacksfd;
	if (h.way == HOLD_FORK && req->runtimefd >= 0 &&
		orphans_note(req->runtimefd, req->process) < 0)
		return -EROFS;
	return hold_start(&h, &s->hold);
}

static int describe(struct snapshot *s)
{
	int r = 0;

	if (s->hold.way == HOLD_STOP && s->hold.reason[0])
		r = remark(s, "stopped, not cloned: %s", s->hold.reason);
	if (s->hold.way == HOLD_MOMENT && s->hold.reason[0])
		r = remark(s, "stacks only, not cloned: %s", s->hold.reason);
	return r;
}

/* The holder was killed: its clone dies with it, but not at once, and it may not even be made yet.
 */
static void reap_orphan(const struct snapshot *s)
{
	const struct timespec nap = {.tv_nsec = 10 * NSEC_PER_MSEC};
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + ORPHAN_NS;
	int runtimefd = s->request->runtimefd;

	while (orphans_pending(runtimefd, s->request->process) &&
		clock_now_ns(CLOCK_MONOTONIC) < end) {
		orphans_reap(runtimefd);
		nanosleep(&nap, NULL);
	}
}

int snapshot_take(
	const struct snapshot_request *req, struct snapshot *out, char reason[FREEZE_REASON_MAX])
{
	_cleanup_maps_ struct maps before = {0};
	int r;

	*out = (struct snapshot){
		.request = req, .hold = {.sock = -1}, .taskfd = -1, .stacksfd = -1};
	out->remarks = json_array();
	if (!out->remarks)
		return -ENOMEM;
	out->taskfd = process_open_live_task(req->process, NULL);
	r = out->taskfd < 0 ? out->taskfd : maps_read(out->taskfd, false, &before);
	if (r == 0)
		r = hold(req, out, &before);
	if (r == -ECHILD)
		reap_orphan(out);
	if (r < 0) {
		snprintf(reason, FREEZE_REASON_MAX, "%s",
			out->hold.reason[0] ? out->hold.reason : strerror(-r));
		return r;
	}
	/* Where a thread ended meanwhile, another one shows the same. */
	cleanup_close(&out->taskfd);
	out->taskfd = process_open_live_task(req->process, NULL);
	fault_point("writer.held");
	r = out->taskfd < 0 ? out->taskfd : open_image(out, &before);
	if (r == 0)
		r = thread_state_notes(&out->hold.states, req->process, out->taskfd, &out->maps,
			req->first, &out->notes);
	if (r == 0)
		r = describe(out);
	if (r < 0)
		snprintf(reason, FREEZE_REASON_MAX, "the process could not be read: %s",
			strerror(-r));
	return r;
}

const char *snapshot_name(const struct snapshot *s)
{
	static const char *const names[] = {
		[HOLD_MOMENT] = "none", [HOLD_FORK] = "fork", [HOLD_STOP] = "stop"};

	return names[s->hold.way];
}

int snapshot_end(struct snapshot *s)
{
	int runtimefd = s->request->runtimefd, r = hold_end(&s->hold);

	if (r == -ECHILD) {
		reap_orphan(s);
		return remark(s, "the process that held the target died");
	}
	if (r == 0 && s->hold.reaped)
		orphans_forget(runtimefd, s->request->process);
	/* Its main thread did not stop in time, or an earlier clone is left for the same reason. */
	if (r == 0)
		reap_orphan(s);
	if (r == 0 && s->hold.dropped[0])
		r = remark(s, "the snapshot was given up: %s", s->hold.dropped);
	if (r == 0 && s->hold.broken_off)
		r = remark(s, "the longest pause had passed: the process was let go");
	if (r == 0 && !s->hold.reaped && orphans_pending(runtimefd, s->request->process))
		r = remark(s, "the dead clone %d is still a child of the process", s->hold.clone);
	return r;
}

void snapshot_free(struct snapshot *s)
{
	hold_free(&s->hold);
	memory_close(&s->memory.image);
	memory_close(&s->memory.live);
	maps_free(&s->maps);
	notes_free(&s->notes);
	cleanup_close(&s->taskfd);
	cleanup_close(&s->stacksfd);
	json_decref(s->remarks);
	s->remarks = NULL;
}
