/* SPDX-License-Identifier: MIT */
#include "probe/requests.h"

#include <abi.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/log.h"
#include "probe/bpf_log.h"
#include "probe/bpf_pass.h"
#include "probe/counters.h"
#include "probe/request_decode.h"
#include "probe/request_hooks.h"

#define SCAN_MIN_NS (50 * NSEC_PER_MSEC)
#define SCAN_MAX_NS (250 * NSEC_PER_MSEC)

/* Shorter limits are past before it is known that a request comes near them. */
#define SENDS_MIN_NS (100 * NSEC_PER_MSEC)

#define READ_AT_ONCE (1 << 16)

struct requests {
	struct request_bpf *skeleton;
	struct request_hooks hooks;
	struct bpf_link *scan;
	struct ring_buffer *ring;
	struct request answer; /* taken out of the ring, not handed out yet */
	bool has_answer;
	struct request *found; /* by the last pass */
	size_t found_room;
	char *buffer; /* READ_AT_ONCE bytes */
	uint64_t undecodable;
	uint64_t reported[CT_LOSS_MAX + 1]; /* losses told so far */
};

/* Of the maps that all programs' headers bring along, these have nobody who uses them here. */
static void leave_out_maps(struct request_bpf *s)
{
	bpf_map__set_autocreate(s->maps.deaths, false);
	bpf_map__set_autocreate(s->maps.reported, false);
}

static int load_some(struct requests *r, const struct requests_options *options, bool plainly)
{
	struct ct_request_config *config;
	struct request_bpf *s;
	int error;

	bpf_log_start();
	s = request_bpf__open();
	if (!s)
		return -errno;
	r->skeleton = s;
	config = (struct ct_request_config *)&s->rodata->request_config;
	config->slow_ns = options->slow_ns;
	config->close_ns = options->slow_ns / 4;
	config->tick_ns = clock_tick_ns();
	config->status_min = options->status_min;
	config->status_max = options->status_max;
	config->report_all = options->every_answer;
	config->count_answers = options->count_answers;
	((struct ct_config *)&s->rodata->config)->watch_unmarked = options->watch_unmarked;
	error = request_hooks_choose(&r->hooks, s, plainly);
	if (error < 0)
		return error;
	bpf_program__set_autoload(s->progs.request_scan, true);
	bpf_program__set_autoload(s->progs.request_sockets, true);
	leave_out_maps(s);
	error = options->probe
			? probe_share_marks(options->probe, s->maps.marks, s->maps.mark_hints)
			: 0;
	return error < 0 ? error : request_bpf__load(s);
}

/* A kernel that was never tried may refuse the programs that read its buffers: the others do
 * without them. */
static int load(struct requests *r, const struct requests_options *options)
{
	int error = load_some(r, options, false);

	if (error != -EACCES && error != -EINVAL && error != -E2BIG)
		return error;
	log_debug("event=requests errno=%d", -error);
	request_bpf__destroy(r->skeleton);
	r->skeleton = NULL;
	return load_some(r, options, true);
}

/* Whether what is sent has to be seen all the time. */
static bool needs_sends(const struct requests_options *o)
{
	return o->status_max || o->every_answer || o->count_answers || o->slow_ns < SENDS_MIN_NS;
}

/* Where no rule asks for requests, only for what lies unread, nothing is hooked in. */
static int attach(struct requests *r, const struct requests_options *options)
{
	struct request_bpf *s = r->skeleton;
	bool always = needs_sends(options);

	if (always || options->slow_ns < UINT64_MAX) {
		int error = request_hooks_attach(&r->hooks, s, always);

		if (error < 0)
			return error;
	}
	r->scan = bpf_pass_attach_map(s->progs.request_scan, s->maps.connections);
	return r->scan ? 0 : -errno;
}

/* Keeps one answer and stops the consume, so that requests_next() hands out one at a time. */
static int take_answer(void *arg, void *record, size_t size)
{
	struct requests *r = arg;

	if (request_decode(record, size, &r->answer) < 0) {
		r->undecodable++;
		return 0;
	}
	r->has_answer = true;
	return -EINTR;
}

static void cleanup_requests(struct requests **r)
{
	requests_close(*r);
}

int requests_open(const struct requests_options *options, struct requests **out)
{
	__attribute__((cleanup(cleanup_requests))) struct requests *r = calloc(1, sizeof(*r));
	int error;

	if (!r)
		return -ENOMEM;
	r->buffer = malloc(READ_AT_ONCE);
	if (!r->buffer)
		return -ENOMEM;
	error = load(r, options);
	if (error < 0)
		return error;
	r->ring = ring_buffer__new(bpf_map__fd(r->skeleton->maps.events), take_answer, r, NULL);
	if (!r->ring)
		return -errno;
	error = attach(r, options);
	if (error < 0)
		return error;
	*out = TAKE_PTR(r);
	return 0;
}

void requests_close(struct requests *r)
{
	if (!r)
		return;
	request_hooks_detach(&r->hooks);
	bpf_link__destroy(r->scan);
	ring_buffer__free(r->ring);
	request_bpf__destroy(r->skeleton);
	free(r->found);
	free(r->buffer);
	free(r);
}

const char *requests_way(const struct requests *r)
{
	if (!r->hooks.by_tracepoint)
		return "seen at the exits of the protocols' calls";
	return r->hooks.by_reads ? "seen by tracepoints, TCP in the kernel's buffers"
				 : "seen by tracepoints";
}

int requests_add_go(struct requests *r, pid_t pid, uint32_t offset)
{
	__u32 key = (__u32)pid;
	struct ct_go go = {.offset = offset};
	int error = bpf_map__update_elem(
		r->skeleton->maps.go_processes, &key, sizeof(key), &go, sizeof(go), BPF_ANY);

	if (error == 0)
		r->skeleton->bss->go_count++;
	return error;
}

bool requests_sees_sends(const struct requests *r)
{
	return r->hooks.sending.n;
}

uint64_t requests_interval_ns(uint64_t slow_ns)
{
	uint64_t tenth = slow_ns / 10;

	return tenth < SCAN_MIN_NS ? SCAN_MIN_NS : tenth > SCAN_MAX_NS ? SCAN_MAX_NS : tenth;
}

/* What a pass has found, as its records are decoded. */
struct found {
	void *v;
	size_t n, room;
	size_t size; /* of one of V */
	size_t record_size;
	int (*decode)(const void *record, size_t size, void *out);
	uint64_t *undecodable;
};

static int decode_request(const void *record, size_t size, void *out)
{
	return request_decode(record, size, out);
}

static int decode_unread(const void *record, size_t size, void *out)
{
	return unread_decode(record, size, out);
}

static int decode_outbound(const void *record, size_t size, void *out)
{
	return outbound_decode(record, size, out);
}

static int add_found(struct found *f, const void *record)
{
	if (f->n == f->room) {
		size_t room = f->room ? f->room * 2 : 64;
		void *v = reallocarray(f->v, room, f->size);

		if (!v)
			return -ENOMEM;
		f->v = v;
		f->room = room;
	}
	if (f->decode(record, f->record_size, (char *)f->v + f->n * f->size) < 0)
		(*f->undecodable)++;
	else
		f->n++;
	return 0;
}

/* Records come whole, one behind the other, and may be cut by the end of a read. */
static int read_pass(struct requests *r, const struct bpf_link *link, struct found *f)
{
	_cleanup_close_ int fd = bpf_iter_create(bpf_link__fd(link));
	size_t held = 0;

	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t n = bpf_pass_read(fd, r->buffer + held, READ_AT_ONCE - held);
		size_t at = 0;

		if (n <= 0)
			return (int)n;
		for (held += (size_t)n; held - at >= f->record_size; at += f->record_size) {
			int error = add_found(f, r->buffer + at);

			if (error < 0)
				return error;
		}
		held -= at;
		memmove(r->buffer, r->buffer + at, held);
	}
}

int requests_scan(struct requests *r, const struct request **out, size_t *n)
{
	struct found f = {
		.v = r->found,
		.room = r->found_room,
		.size = sizeof(struct request),
		.record_size = sizeof(struct ct_request),
		.decode = decode_request,
		.undecodable = &r->undecodable,
	};
	int error = read_pass(r, r->scan, &f);

	r->found = f.v;
	r->found_room = f.room;
	request_hooks_review(&r->hooks, r->skeleton, error == 0);
	if (error < 0)
		return error;
	*out = f.v;
	*n = f.n;
	return 0;
}

/* The caller's to free() is what F holds afterwards. */
static int read_sockets(struct requests *r, pid_t pid, enum ct_socket_wanted wanted,
	uint64_t age_ns, struct found *f)
{
	struct bpf_link *link;
	int error;

	f->record_size = sizeof(struct ct_socket);
	f->undecodable = &r->undecodable;
	r->skeleton->bss->sockets_tgid = (__u32)pid;
	r->skeleton->bss->sockets_wanted = wanted;
	r->skeleton->bss->sockets_age_ns = age_ns;
	link = bpf_pass_attach(r->skeleton->progs.request_sockets, pid);
	if (!link)
		return -errno;
	error = read_pass(r, link, f);
	bpf_link__destroy(link);
	if (error < 0)
		free(f->v);
	return error;
}

static int read_unread(
	struct requests *r, pid_t pid, enum ct_socket_wanted wanted, struct unread **out, size_t *n)
{
	struct found f = {.size = sizeof(struct unread), .decode = decode_unread};
	int error = read_sockets(r, pid, wanted, 0, &f);

	if (error < 0)
		return error;
	*out = f.v;
	*n = f.n;
	return 0;
}

int requests_unread(struct requests *r, pid_t pid, struct unread **out, size_t *n)
{
	return read_unread(r, pid, CT_SOCKETS_UNREAD, out, n);
}

int requests_serving(struct requests *r, pid_t pid, struct unread **out, size_t *n)
{
	return read_unread(r, pid, CT_SOCKETS_SERVING, out, n);
}

static int compare_ages(const void *a, const void *b)
{
	uint64_t x = ((const struct outbound *)a)->age_ns, y = ((const struct outbound *)b)->age_ns;

	return (x < y) - (x > y);
}

int requests_outbound(
	struct requests *r, pid_t pid, uint64_t age_ns, struct outbound **out, size_t *n)
{
	struct found f = {.size = sizeof(struct outbound), .decode = decode_outbound};
	int error = read_sockets(r, pid, CT_SOCKETS_OUTBOUND, age_ns, &f);

	if (error < 0)
		return error;
	if (f.n)
		qsort(f.v, f.n, sizeof(struct outbound), compare_ages);
	*out = f.v;
	*n = f.n;
	return 0;
}

int requests_fd(const struct requests *r)
{
	return ring_buffer__epoll_fd(r->ring);
}

int requests_next(struct requests *r, struct request *out)
{
	int error = r->has_answer ? 0 : ring_buffer__consume(r->ring);

	if (!r->has_answer)
		return error < 0 ? error : 0;
	*out = r->answer;
	r->has_answer = false;
	return 1;
}

int requests_answered(struct requests *r, pid_t pid, uint64_t *n)
{
	__u32 key = (__u32)pid;

	return bpf_map__lookup_elem(r->skeleton->maps.answers, &key, sizeof(key), n, sizeof(*n), 0);
}

int requests_losses(struct requests *r, struct probe_loss out[PROBE_LOSSES_MAX])
{
	return counters_losses(r->skeleton->maps.counters, r->undecodable, r->reported, out);
}
