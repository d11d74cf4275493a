/* SPDX-License-Identifier: MIT */
#include "probe/probe.h"

#include <abi.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "coretrap.skel.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "probe/bpf_log.h"
#include "probe/counters.h"
#include "probe/decode.h"

#define LINKS_MAX 16

enum {
	DEATHS,
	EVENTS,
	RINGS
};

struct ring {
	struct probe *probe;
	struct ring_buffer *buffer;
	struct event *head;  /* taken out, not handed out yet */
	uint64_t *sequences; /* the highest of each CPU */
	uint64_t missing;    /* records that the sequences say were lost */
};

struct probe {
	struct coretrap_bpf *skeleton;
	struct bpf_link *links[LINKS_MAX];
	size_t link_count;
	struct ring ring[RINGS];
	int epollfd;
	uint64_t undecodable;
	int cpus;
	uint64_t uncounted;		    /* missing, though no counter says why; told so far */
	uint64_t reported[CT_LOSS_MAX + 1]; /* losses told so far */
};

/* Whether the kernel's tracepoint NAME takes a pointer as its first argument; -ENOENT if there is
 * none of that name. */
static int first_argument_is_pointer(const struct btf *btf, const char *name)
{
	char typedef_name[64];
	const struct btf_type *t;
	int id;

	snprintf(typedef_name, sizeof(typedef_name), "btf_trace_%s", name);
	id = btf__find_by_name_kind(btf, typedef_name, BTF_KIND_TYPEDEF);
	if (id < 0)
		return -ENOENT;
	t = btf__type_by_id(btf, btf__type_by_id(btf, (__u32)id)->type); /* typedef → pointer */
	t = btf__type_by_id(btf, t->type);				 /* → prototype */
	if (!btf_is_func_proto(t) || btf_vlen(t) < 2)
		return -ENOENT;
	/* Parameter 0 is the tracepoint's private data. */
	return btf_is_ptr(btf__type_by_id(btf, btf_params(t)[1].type));
}

static int choose_programs(struct coretrap_bpf *s, const struct probe_options *options)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int pointer;

	if (!btf)
		return -errno;
	pointer = first_argument_is_pointer(btf, "mark_victim");
	btf__free(btf);
	bpf_program__set_autoload(s->progs.signal_deliver, true);
	bpf_program__set_autoload(s->progs.signal_generate, true);
	bpf_program__set_autoload(s->progs.process_fork, true);
	bpf_program__set_autoload(s->progs.process_exec, true);
	bpf_program__set_autoload(s->progs.process_exit, true);
	bpf_program__set_autoload(s->progs.process_free, true);
	bpf_program__set_autoload(s->progs.process_rename, options->report_exec);
	if (pointer >= 0)
		bpf_program__set_autoload(
			pointer ? s->progs.oom_victim_task : s->progs.oom_victim_pid, true);
	return 0;
}

static int attach_programs(struct probe *p)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, p->skeleton->obj)
	{
		struct bpf_link *link;

		if (!bpf_program__autoload(program))
			continue;
		link = p->link_count < LINKS_MAX ? bpf_program__attach(program) : NULL;
		if (!link) {
			int r = p->link_count < LINKS_MAX ? -errno : -E2BIG;

			log_debug(
				"event=attach program=%s errno=%d", bpf_program__name(program), -r);
			return r;
		}
		p->links[p->link_count++] = link;
	}
	return 0;
}

static void check_sequence(struct ring *ring, const struct ct_header *h, size_t size)
{
	if (size < sizeof(*h) || h->cpu >= (uint32_t)ring->probe->cpus)
		return;
	if (h->sequence <= ring->sequences[h->cpu]) {
		ring->missing -= ring->missing > 0; /* only out of order */
		return;
	}
	ring->missing += h->sequence - ring->sequences[h->cpu] - 1;
	ring->sequences[h->cpu] = h->sequence;
}

/* Keeps one event and stops the consume, so that probe_next() hands out one at a time. */
static int take_record(void *arg, void *record, size_t size)
{
	struct ring *ring = arg;
	int64_t offset = (int64_t)(clock_now_ns(CLOCK_REALTIME) - clock_now_ns(CLOCK_BOOTTIME));

	check_sequence(ring, record, size);
	if (decode_record(record, size, offset, &ring->head) < 0) {
		ring->probe->undecodable++;
		return 0;
	}
	return -EINTR;
}

static int open_ring(struct probe *p, struct ring *ring, const struct bpf_map *map)
{
	struct epoll_event interest = {.events = EPOLLIN};

	ring->probe = p;
	ring->sequences = calloc((size_t)p->cpus, sizeof(*ring->sequences));
	if (!ring->sequences)
		return -ENOMEM;
	ring->buffer = ring_buffer__new(bpf_map__fd(map), take_record, ring, NULL);
	if (!ring->buffer)
		return -errno;
	if (epoll_ctl(p->epollfd, EPOLL_CTL_ADD, ring_buffer__epoll_fd(ring->buffer), &interest) <
		0)
		return -errno;
	return 0;
}

static int open_rings(struct probe *p)
{
	int r;

	p->cpus = libbpf_num_possible_cpus();
	if (p->cpus <= 0)
		return p->cpus < 0 ? p->cpus : -ENODEV;
	p->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (p->epollfd < 0)
		return -errno;
	r = open_ring(p, &p->ring[DEATHS], p->skeleton->maps.deaths);
	return r < 0 ? r : open_ring(p, &p->ring[EVENTS], p->skeleton->maps.events);
}

static void cleanup_probe(struct probe **p)
{
	probe_close(*p);
}

int probe_open(const struct probe_options *options, struct probe **out)
{
	__attribute__((cleanup(cleanup_probe))) struct probe *p = calloc(1, sizeof(*p));
	struct ct_config *config;
	int r;

	if (!p)
		return -ENOMEM;
	p->epollfd = -1;
	bpf_log_start();
	p->skeleton = coretrap_bpf__open();
	if (!p->skeleton)
		return -errno;
	config = (struct ct_config *)&p->skeleton->rodata->config;
	config->fatal_mask = options->fatal_mask;
	config->first_chance_mask = options->first_chance_mask;
	config->watch_unmarked = options->watch_unmarked;
	config->report_exec = options->report_exec;
	config->first_chance_rate = 100;
	r = choose_programs(p->skeleton, options);
	if (r < 0)
		return r;
	r = coretrap_bpf__load(p->skeleton);
	if (r < 0)
		return r;
	r = open_rings(p);
	if (r < 0)
		return r;
	r = attach_programs(p);
	if (r < 0)
		return r;
	*out = TAKE_PTR(p);
	return 0;
}

void probe_close(struct probe *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->link_count; i++)
		bpf_link__destroy(p->links[i]);
	for (size_t i = 0; i < RINGS; i++) {
		ring_buffer__free(p->ring[i].buffer);
		event_free(p->ring[i].head);
		free(p->ring[i].sequences);
	}
	cleanup_close(&p->epollfd);
	coretrap_bpf__destroy(p->skeleton);
	free(p);
}

int probe_fd(const struct probe *p)
{
	return p->epollfd;
}

/* In the order in which things happened: who is watched follows from births, and a process may die
 * before its exec was looked at. Deaths are looked for first, since whatever came before a death
 * that is there is there too. */
int probe_next(struct probe *p, struct event **out)
{
	struct event **first = NULL;

	for (size_t i = 0; i < RINGS; i++) {
		struct ring *ring = &p->ring[i];
		int r = ring->head ? 0 : ring_buffer__consume(ring->buffer);

		if (r < 0 && !ring->head)
			return r;
		if (ring->head && (!first || ring->head->time_ns < (*first)->time_ns))
			first = &ring->head;
	}
	if (!first)
		return 0;
	*out = TAKE_PTR(*first);
	return 1;
}

int probe_mark(struct probe *p, pid_t pid, uint64_t start_ticks, uint64_t exec_id,
	enum probe_verdict verdict)
{
	static const __u32 flags[] = {
		[PROBE_IGNORE] = CT_MARK_INHERIT,
		[PROBE_WATCH] = CT_MARK_WATCHED | CT_MARK_STICKY,
		[PROBE_WATCH_TREE] = CT_MARK_WATCHED | CT_MARK_STICKY | CT_MARK_INHERIT,
		[PROBE_WATCH_FORKS] = CT_MARK_WATCHED | CT_MARK_STICKY | CT_MARK_INHERIT,
	};
	struct ct_mark mark = {
		.start_ticks = start_ticks,
		.exec_id = exec_id,
		.flags = flags[verdict],
		.tree_root = verdict == PROBE_WATCH_TREE ? (__u32)pid : 0,
	};
	__u32 key = (__u32)pid, hint_key = key % CT_MARK_HINTS;
	__u64 hint = 1;
	int r = 0;

	if (mark.flags & CT_MARK_WATCHED)
		r = bpf_map__update_elem(p->skeleton->maps.mark_hints, &hint_key, sizeof(hint_key),
			&hint, sizeof(hint), BPF_ANY);
	if (r == 0)
		r = bpf_map__update_elem(
			p->skeleton->maps.marks, &key, sizeof(key), &mark, sizeof(mark), BPF_ANY);

	/* The kernel side frees the mark with the process. If that is over, nobody would. */
	if (r == 0 && kill(pid, 0) < 0 && errno == ESRCH)
		probe_unmark(p, pid);
	return r;
}

void probe_unmark(struct probe *p, pid_t pid)
{
	__u32 key = (__u32)pid;

	bpf_map__delete_elem(p->skeleton->maps.marks, &key, sizeof(key), 0);
}

int probe_share_marks(const struct probe *p, struct bpf_map *marks, struct bpf_map *hints)
{
	int r = bpf_map__reuse_fd(marks, bpf_map__fd(p->skeleton->maps.marks));

	return r < 0 ? r : bpf_map__reuse_fd(hints, bpf_map__fd(p->skeleton->maps.mark_hints));
}

int probe_losses(struct probe *p, struct probe_loss out[PROBE_LOSSES_MAX])
{
	uint64_t missing = 0, full;
	int n = counters_losses(p->skeleton->maps.counters, p->undecodable, p->reported, out);

	if (n < 0)
		return n;
	/* A record that found no room is counted before the next one shows the gap. */
	for (size_t i = 0; i < RINGS; i++)
		missing += p->ring[i].missing;
	full = p->reported[CT_LOSS_DEATH_RING_FULL] + p->reported[CT_LOSS_EVENT_RING_FULL];
	if (missing > full + p->uncounted) {
		out[n++] = (struct probe_loss){"sequence-gap", missing - full - p->uncounted};
		p->uncounted = missing - full;
	}
	return n;
}
