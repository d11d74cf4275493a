/* SPDX-License-Identifier: MIT */
#include "probe/functions.h"

#include <abi.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/user.h>

#include "function.skel.h"
#include "lib/cleanup.h"
#include "probe/bpf_log.h"
#include "probe/counters.h"

_Static_assert(FUNCTIONS_FIRINGS_MAX == CT_FIRINGS_MAX, "as documented");
_Static_assert(sizeof(struct user_regs_struct) == SDT_WORDS * 8, "a word a register");

struct function_site {
	struct ct_site_key key;
};

struct functions {
	struct function_bpf *skeleton;
	struct ring_buffer *ring;
	pid_t overrun; /* taken out of the ring, not handed out yet; 0: none */
	uint32_t instances;
	struct ct_call_key *keys; /* of the last scan, ROOM of each */
	struct ct_call *values;
	struct function_call *calls;
	uint32_t room;
	uint64_t undecodable;
	uint64_t reported[CT_LOSS_MAX + 1]; /* losses told so far */
};

static int take_overrun(void *arg, void *record, size_t size)
{
	struct functions *f = arg;
	const struct ct_overrun *o = record;

	if (size < sizeof(*o) || o->header.kind != CT_OVERRUN) {
		f->undecodable++;
		return 0;
	}
	f->overrun = (pid_t)o->tgid;
	return -EINTR; /* one at a time */
}

/* Of the maps that all programs' headers bring along, these have nobody who uses them here. */
static int load(struct functions *f)
{
	struct function_bpf *s;

	bpf_log_start();
	s = function_bpf__open();
	if (!s)
		return -errno;
	f->skeleton = s;
	bpf_program__set_autoload(s->progs.function_hit, true);
	bpf_map__set_autocreate(s->maps.deaths, false);
	bpf_map__set_autocreate(s->maps.reported, false);
	bpf_map__set_autocreate(s->maps.marks, false);
	bpf_map__set_max_entries(s->maps.events, 65536); /* an overrun a process, at most */
	return function_bpf__load(s);
}

static void cleanup_functions(struct functions **f)
{
	functions_close(*f);
}

int functions_open(struct functions **out)
{
	__attribute__((cleanup(cleanup_functions))) struct functions *f = calloc(1, sizeof(*f));
	int r = f ? load(f) : -ENOMEM;

	if (r < 0)
		return r;
	f->ring = ring_buffer__new(bpf_map__fd(f->skeleton->maps.events), take_overrun, f, NULL);
	if (!f->ring)
		return -errno;
	f->room = bpf_map__max_entries(f->skeleton->maps.calls);
	f->keys = calloc(f->room, sizeof(*f->keys));
	f->values = calloc(f->room, sizeof(*f->values));
	f->calls = calloc(f->room, sizeof(*f->calls));
	if (!f->keys || !f->values || !f->calls)
		return -ENOMEM;
	*out = TAKE_PTR(f);
	return 0;
}

void functions_close(struct functions *f)
{
	if (!f)
		return;
	ring_buffer__free(f->ring);
	function_bpf__destroy(f->skeleton);
	free(f->keys);
	free(f->values);
	free(f->calls);
	free(f);
}

/* ---- watching ---- */

static struct ct_site site_of(
	const struct functions_wish *w, const struct place *p, uint32_t instance)
{
	static const uint8_t kinds[PLACE_KINDS] = {[PLACE_ENTRY] = CT_SITE_ENTRY,
		[PLACE_EXIT] = CT_SITE_EXIT,
		[PLACE_BRANCH] = CT_SITE_BRANCH,
		[PLACE_BEGIN] = CT_SITE_BEGIN,
		[PLACE_END] = CT_SITE_END};
	static const uint8_t arguments[] = {[SDT_NONE] = CT_ARGUMENT_NONE,
		[SDT_CONSTANT] = CT_ARGUMENT_CONSTANT,
		[SDT_REGISTER] = CT_ARGUMENT_REGISTER,
		[SDT_MEMORY] = CT_ARGUMENT_MEMORY};

	return (struct ct_site){.instance = instance,
		.kind = kinds[p->kind],
		.condition = p->condition,
		.go = w->go,
		.argument = arguments[p->argument.kind],
		.value = p->argument.value,
		.reg = (__u16)(p->argument.reg * sizeof(uint64_t)),
		.size = p->argument.size,
		.is_signed = p->argument.is_signed,
		.goid = w->goid};
}

static bool holds(const struct functions_wish *w, const struct mapping *m, uint64_t offset)
{
	return m->inode == w->which->inode && m->major == w->which->major &&
	       m->minor == w->which->minor && offset >= m->offset &&
	       offset - m->offset < m->end - m->start;
}

/* Wherever the file is mapped: a process may have it more than once. */
static int add_sites(struct functions *f, const struct functions_wish *w, const struct place *place,
	struct function_watch *watch)
{
	const struct ct_site site = site_of(w, place, watch->instance);

	for (size_t i = 0; i < w->maps->n; i++) {
		const struct mapping *m = &w->maps->v[i];
		struct ct_site_key key = {.tgid = (__u32)w->pid};
		struct function_site *v;
		int r;

		if (!holds(w, m, place->offset))
			continue;
		key.ip = m->start + (place->offset - m->offset);
		v = reallocarray(watch->sites, watch->site_count + 1, sizeof(*v));
		if (!v)
			return -ENOMEM;
		watch->sites = v;
		r = bpf_map__update_elem(f->skeleton->maps.sites, &key, sizeof(key), &site,
			sizeof(site), BPF_NOEXIST);
		if (r < 0)
			return r == -E2BIG ? -ENOSPC : r;
		v[watch->site_count++].key = key;
	}
	return 0;
}

/* What ends a call first, so that none seems to go on because its end was not seen. */
static int attach(struct functions *f, const struct functions_wish *w, bool entries,
	struct function_watch *watch)
{
	for (uint32_t i = 0; i < w->places->n; i++) {
		const struct place *p = &w->places->v[i];
		int r;

		if ((p->kind == PLACE_ENTRY || p->kind == PLACE_BEGIN) != entries)
			continue;
		r = uprobes_add(&watch->probes, f->skeleton->progs.function_hit, w->tid, w->fd,
			p->offset, p->semaphore);
		if (r < 0)
			return r;
	}
	return 0;
}

int functions_watch(
	struct functions *f, const struct functions_wish *wish, struct function_watch *out)
{
	struct function_watch watch = {.instance = ++f->instances};
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < wish->places->n; i++)
		r = add_sites(f, wish, &wish->places->v[i], &watch);
	if (r == 0 && !watch.site_count)
		r = -ENXIO;
	r = r < 0 ? r : attach(f, wish, false, &watch);
	r = r < 0 ? r : attach(f, wish, true, &watch);
	if (r < 0)
		functions_unwatch(f, &watch);
	else
		*out = watch;
	return r;
}

static void forget_calls(struct functions *f, uint32_t instance)
{
	const struct function_call *calls;
	size_t n;

	if (functions_scan(f, &calls, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (calls[i].instance == instance)
			functions_drop(f, &calls[i]);
}

void functions_unwatch(struct functions *f, struct function_watch *watch)
{
	if (!watch->instance)
		return;
	for (size_t i = 0; i < watch->site_count; i++)
		bpf_map__delete_elem(f->skeleton->maps.sites, &watch->sites[i].key,
			sizeof(watch->sites[i].key), 0);
	uprobes_remove(&watch->probes);
	forget_calls(f, watch->instance);
	free(watch->sites);
	*watch = FUNCTION_WATCH_NONE;
}

int functions_begin_process(struct functions *f, pid_t pid)
{
	const __u32 key = (__u32)pid;
	const struct ct_firing none = {};

	int r = bpf_map__update_elem(
		f->skeleton->maps.firings, &key, sizeof(key), &none, sizeof(none), BPF_ANY);

	return r == -E2BIG ? -ENOSPC : r;
}

void functions_end_process(struct functions *f, pid_t pid)
{
	const __u32 key = (__u32)pid;

	bpf_map__delete_elem(f->skeleton->maps.firings, &key, sizeof(key), 0);
}

/* ---- asking ---- */

int functions_fd(const struct functions *f)
{
	return ring_buffer__epoll_fd(f->ring);
}

int functions_next_overrun(struct functions *f, pid_t *pid)
{
	int r = ring_buffer__consume(f->ring);

	if (!f->overrun)
		return r < 0 && r != -EINTR ? r : 0;
	*pid = f->overrun;
	f->overrun = 0;
	return 1;
}

static int compare_entries(const void *a, const void *b)
{
	uint64_t x = ((const struct function_call *)a)->entered_ns,
		 y = ((const struct function_call *)b)->entered_ns;

	return (x > y) - (x < y);
}

int functions_scan(struct functions *f, const struct function_call **out, size_t *n)
{
	__u32 position = 0, count = f->room;
	int r = bpf_map_lookup_batch(bpf_map__fd(f->skeleton->maps.calls), NULL, &position, f->keys,
		f->values, &count, NULL);

	if (r < 0 && r != -ENOENT) /* ENOENT: that was the last of them */
		return r;
	for (__u32 i = 0; i < count; i++) {
		const struct ct_call *c = &f->values[i];

		f->calls[i] = (struct function_call){.instance = f->keys[i].instance,
			.owner = f->keys[i].owner,
			.entered_ns = c->entered_ns,
			.stack = c->stack,
			.below = c->below,
			.back = c->back,
			.goroutine = c->goroutine,
			.tid = (pid_t)c->tid};
	}
	qsort(f->calls, count, sizeof(*f->calls), compare_entries);
	*out = f->calls;
	*n = count;
	return 0;
}

void functions_drop(struct functions *f, const struct function_call *call)
{
	const struct ct_call_key key = {.owner = call->owner, .instance = call->instance};
	struct ct_call now;

	/* The owner may have begun anew meanwhile. */
	if (bpf_map__lookup_elem(
		    f->skeleton->maps.calls, &key, sizeof(key), &now, sizeof(now), 0) == 0 &&
		now.entered_ns == call->entered_ns)
		bpf_map__delete_elem(f->skeleton->maps.calls, &key, sizeof(key), 0);
}

int functions_losses(struct functions *f, struct probe_loss out[PROBE_LOSSES_MAX])
{
	return counters_losses(f->skeleton->maps.counters, f->undecodable, f->reported, out);
}
