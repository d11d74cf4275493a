/* SPDX-License-Identifier: MIT */
#include "probe/returns.h"

#include <abi.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "stall.skel.h"
#include "lib/cleanup.h"
#include "probe/bpf_log.h"
#include "target/mapped.h"

#define RING_BYTES 65536

_Static_assert(RETURNS_TOLD == CT_ROUNDS_TOLD && RETURNS_RATE_MAX == CT_FIRINGS_MAX,
	"what is said to the outside");

struct returns {
	struct stall_bpf *skeleton;
	struct ring_buffer *ring;
};

static int ignore(void *arg, void *record, size_t size)
{
	(void)arg;
	(void)record;
	(void)size;
	return 0;
}

/* Of the maps that all programs' headers bring along, these have nobody who uses them here. */
static int prepare(struct stall_bpf *s)
{
	bpf_map__set_autocreate(s->maps.deaths, false);
	bpf_map__set_autocreate(s->maps.reported, false);
	bpf_map__set_autocreate(s->maps.marks, false);
	bpf_program__set_autoload(s->progs.stall_return, true);
	return bpf_map__set_max_entries(s->maps.events, RING_BYTES);
}

static void cleanup_returns(struct returns **r)
{
	returns_close(*r);
}

int returns_open(struct returns **out)
{
	__attribute__((cleanup(cleanup_returns))) struct returns *r = calloc(1, sizeof(*r));
	int error;

	if (!r)
		return -ENOMEM;
	bpf_log_start();
	r->skeleton = stall_bpf__open();
	if (!r->skeleton)
		return -errno;
	error = prepare(r->skeleton);
	error = error < 0 ? error : stall_bpf__load(r->skeleton);
	if (error < 0)
		return error;
	r->ring = ring_buffer__new(bpf_map__fd(r->skeleton->maps.events), ignore, NULL, NULL);
	if (!r->ring)
		return -errno;
	*out = TAKE_PTR(r);
	return 0;
}

void returns_close(struct returns *r)
{
	if (!r)
		return;
	ring_buffer__free(r->ring);
	stall_bpf__destroy(r->skeleton);
	free(r);
}

int returns_fd(const struct returns *r)
{
	return ring_buffer__epoll_fd(r->ring);
}

void returns_clear(struct returns *r)
{
	ring_buffer__consume(r->ring);
}

static int attach_one(struct returns *r, int procfd, pid_t tid, const struct maps *maps,
	uint64_t address, struct uprobes *probes)
{
	const struct mapping *m = maps_find(maps, address);
	_cleanup_close_ int fd = m ? mapped_open(procfd, tid, m) : -ENOENT;

	if (fd < 0)
		return fd;
	return uprobes_add(probes, r->skeleton->progs.stall_return, tid, fd,
		address - m->start + m->offset, 0);
}

static int attach_all(struct returns *r, const struct process *p, pid_t tid, const uint64_t *places,
	size_t n, struct uprobes *probes)
{
	_cleanup_close_ int taskfd = process_open_task(p, tid);
	_cleanup_maps_ struct maps maps = {};
	int error = taskfd < 0 ? taskfd : maps_read(taskfd, false, &maps);

	for (size_t i = 0; error == 0 && i < n; i++)
		error = attach_one(r, p->procfd, tid, &maps, places[i], probes);
	return error;
}

int returns_attach(struct returns *r, const struct process *p, pid_t tid, const uint64_t *places,
	size_t n, struct uprobes *probes)
{
	const struct ct_firing none = {};
	__u32 key = (__u32)p->pid;
	int error = bpf_map__update_elem(
		r->skeleton->maps.firings, &key, sizeof(key), &none, sizeof(none), BPF_ANY);

	error = error < 0 ? error : attach_all(r, p, tid, places, n, probes);
	if (error < 0)
		returns_detach(r, p->pid, probes);
	return error;
}

void returns_detach(struct returns *r, pid_t pid, struct uprobes *probes)
{
	__u32 key = (__u32)pid;

	bpf_map__delete_elem(r->skeleton->maps.firings, &key, sizeof(key), 0);
	uprobes_remove(probes);
}

bool returns_is_over(const struct returns *r, pid_t pid)
{
	__u32 key = (__u32)pid;
	struct ct_firing f;

	return bpf_map__lookup_elem(
		       r->skeleton->maps.firings, &key, sizeof(key), &f, sizeof(f), 0) == 0 &&
	       f.over;
}

int returns_add(struct returns *r, pid_t tid)
{
	const struct ct_suspect none = {};
	__u32 key = (__u32)tid;

	return bpf_map__update_elem(
		r->skeleton->maps.suspects, &key, sizeof(key), &none, sizeof(none), BPF_ANY);
}

void returns_remove(struct returns *r, pid_t tid)
{
	__u32 key = (__u32)tid;

	bpf_map__delete_elem(r->skeleton->maps.suspects, &key, sizeof(key), 0);
}

int returns_read(const struct returns *r, pid_t tid, uint64_t *rounds, uint64_t *last_ns)
{
	__u32 key = (__u32)tid;
	struct ct_suspect s;
	int error = bpf_map__lookup_elem(
		r->skeleton->maps.suspects, &key, sizeof(key), &s, sizeof(s), 0);

	if (error < 0)
		return error;
	*rounds = s.rounds;
	*last_ns = s.last_ns;
	return 0;
}
