/* SPDX-License-Identifier: MIT */
#include "probe/request_hooks.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "probe/bpf_pass.h"
#include "probe/request_pages.h"

/* What is sent is looked at for so long behind the last reason for it, */
#define KEPT_NS (10 * NSEC_PER_SEC)
/* and so often for so long without one: only there can be learned that a server gives interim
 * answers. */
#define SAMPLING_NS (1 * NSEC_PER_SEC)
#define SAMPLED_NS  (60 * NSEC_PER_SEC)

/* Sockets but those of TCP are looked for once a second, or so seldom that it takes no more than a
 * thousandth of the time, until there are any; but at least so often. */
#define OTHERS_NS      (1 * NSEC_PER_SEC)
#define OTHERS_MOST_NS (10 * NSEC_PER_SEC)
#define OTHERS_SHARE   1000

static bool has_type(const struct btf *btf, const char *name, unsigned int kind)
{
	return btf__find_by_name_kind(btf, name, kind) > 0;
}

struct hook {
	struct bpf_program *program;
	const char *function; /* at whose exit it runs */
};

/* Before 6.3. Where one of these functions is not, there is nothing that it would serve. */
static void choose_exits(struct request_bpf *s, const struct btf *btf)
{
	const struct hook exits[] = {
		{s->progs.exit_inet_sendmsg, "inet_sendmsg"},
		{s->progs.exit_inet6_sendmsg, "inet6_sendmsg"},
		{s->progs.exit_unix_sendmsg, "unix_stream_sendmsg"},
		{s->progs.exit_inet_sendpage, "inet_sendpage"},
		{s->progs.exit_inet_recvmsg, "inet_recvmsg"},
		{s->progs.exit_inet6_recvmsg, "inet6_recvmsg"},
		{s->progs.exit_unix_recvmsg, "unix_stream_recvmsg"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(exits); i++)
		bpf_program__set_autoload(
			exits[i].program, has_type(btf, exits[i].function, BTF_KIND_FUNC));
}

static void choose_reading(struct request_bpf *s, bool yes)
{
	bpf_program__set_autoload(s->progs.request_read, yes);
	bpf_program__set_autoload(s->progs.request_others, yes);
	bpf_program__set_autoload(s->progs.request_pages, yes);
}

/* Tracing programs may keep state with a socket since 5.11, and know its cookie since 5.12, which
 * also brought the iterator that this looks for. */
int request_hooks_choose(struct request_hooks *h, struct request_bpf *s, bool plainly)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int r = 0;

	if (!btf)
		return -errno;
	h->by_tracepoint = has_type(btf, "btf_trace_sock_recv_length", BTF_KIND_TYPEDEF);
	if (!has_type(btf, "bpf_iter_bpf_sk_storage_map", BTF_KIND_FUNC) ||
		!has_type(btf, "bpf_iter_task_vma", BTF_KIND_FUNC))
		r = -EOPNOTSUPP;
	bpf_program__set_autoload(s->progs.request_sent, h->by_tracepoint);
	bpf_program__set_autoload(s->progs.request_received, h->by_tracepoint);
	choose_reading(s, h->by_tracepoint && !plainly);
	if (!h->by_tracepoint)
		choose_exits(s, btf);
	btf__free(btf);
	return r;
}

static void detach(struct request_links *links)
{
	while (links->n)
		bpf_link__destroy(links->v[--links->n]);
}

static int attach(struct request_links *links, struct bpf_program *const *programs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct bpf_link *link;

		if (!bpf_program__autoload(programs[i]))
			continue;
		link = bpf_program__attach(programs[i]);
		if (!link) {
			int error = -errno;

			detach(links);
			return error;
		}
		links->v[links->n++] = link;
	}
	return 0;
}

static int attach_receiving(struct request_hooks *h, struct request_bpf *s)
{
	struct bpf_program *const programs[] = {s->progs.request_received,
		s->progs.exit_inet_recvmsg, s->progs.exit_inet6_recvmsg,
		s->progs.exit_unix_recvmsg};

	return attach(&h->receiving, programs, ARRAY_SIZE(programs));
}

static int attach_sending(struct request_hooks *h, struct request_bpf *s)
{
	struct bpf_program *const programs[] = {s->progs.request_sent, s->progs.exit_inet_sendmsg,
		s->progs.exit_inet6_sendmsg, s->progs.exit_unix_sendmsg,
		s->progs.exit_inet_sendpage};

	return attach(&h->sending, programs, ARRAY_SIZE(programs));
}

/* Whether a watched process has sockets that the hook of TCP does not see; where nobody can tell,
 * there are some. */
static bool look_for_others(struct request_hooks *h, struct request_bpf *s)
{
	uint64_t began = clock_now_ns(CLOCK_THREAD_CPUTIME_ID), pause;
	_cleanup_close_ int fd = bpf_iter_create(bpf_link__fd(h->others));
	char nothing[16];
	ssize_t n;

	if (fd < 0)
		return true;
	do {
		n = bpf_pass_read(fd, nothing, sizeof(nothing));
	} while (n > 0);
	pause = (clock_now_ns(CLOCK_THREAD_CPUTIME_ID) - began) * OTHERS_SHARE;
	pause = pause < OTHERS_NS ? OTHERS_NS : pause > OTHERS_MOST_NS ? OTHERS_MOST_NS : pause;
	h->others_ns = clock_now_ns(CLOCK_MONOTONIC) + pause;
	return n < 0 || s->bss->others_wanted;
}

/* The other hook first: nothing is missed between them. */
static int attach_reading(struct request_hooks *h, struct request_bpf *s)
{
	struct bpf_program *const programs[] = {s->progs.request_read};
	int r = h->by_reads ? attach(&h->reading, programs, ARRAY_SIZE(programs)) : 0;

	if (r < 0)
		return r;
	s->bss->plain_seen = h->by_reads;
	if (!h->by_reads || h->always || look_for_others(h, s))
		r = attach_receiving(h, s);
	return r;
}

/* Whether TCP can have its own hook. */
static bool open_others(struct request_hooks *h, struct request_bpf *s)
{
	if (!bpf_program__autoload(s->progs.request_read) || !request_pages_check(s))
		return false;
	h->others = bpf_program__attach_iter(s->progs.request_others, NULL);
	return h->others;
}

/* Answers first: a request whose answer is missed would seem to wait for ever. */
int request_hooks_attach(struct request_hooks *h, struct request_bpf *s, bool always)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	int r;

	h->by_reads = open_others(h, s);
	h->always = always;
	h->until_ns = now + SAMPLING_NS;
	h->sampling_ns = now + SAMPLED_NS;
	r = attach_sending(h, s);
	s->bss->sends_seen = r == 0;
	r = r < 0 ? r : attach_reading(h, s);
	h->attached = r == 0;
	if (r < 0)
		request_hooks_detach(h);
	return r;
}

/* Until the next pass has noticed what was sent before, nothing is sure to be seen. */
static void begin(struct request_hooks *h, struct request_bpf *s)
{
	int r = attach_sending(h, s);

	if (r < 0 && !h->failed)
		log_error("event=sends errno=%d", -r);
	h->failed = r < 0;
}

static void end(struct request_hooks *h, struct request_bpf *s)
{
	s->bss->sends_seen = 0;
	detach(&h->sending);
}

static void review_sends(struct request_hooks *h, struct request_bpf *s, uint64_t now)
{
	if (h->sending.n)
		s->bss->sends_seen = 1;
	if (now >= h->sampling_ns) {
		h->sampling_ns = now + SAMPLED_NS;
		if (h->until_ns < now + SAMPLING_NS)
			h->until_ns = now + SAMPLING_NS;
	}
	if (s->bss->sends_wanted || s->bss->interim_seen)
		h->until_ns = now + KEPT_NS;
	s->bss->sends_wanted = 0;
	if (!h->sending.n && now < h->until_ns)
		begin(h, s);
	else if (h->sending.n && now >= h->until_ns)
		end(h, s);
}

static void review_others(struct request_hooks *h, struct request_bpf *s, uint64_t now)
{
	int r;

	if (h->receiving.n || (!s->bss->others_wanted && now < h->others_ns))
		return;
	if (!s->bss->others_wanted && !look_for_others(h, s))
		return;
	r = attach_receiving(h, s);
	if (r < 0 && !h->others_failed)
		log_error("event=receives errno=%d", -r);
	h->others_failed = r < 0;
}

void request_hooks_review(struct request_hooks *h, struct request_bpf *s, bool whole)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

	if (h->always || !h->attached || !whole)
		return;
	review_sends(h, s, now);
	if (h->by_reads)
		review_others(h, s, now);
}

void request_hooks_detach(struct request_hooks *h)
{
	detach(&h->reading);
	detach(&h->receiving);
	detach(&h->sending);
	bpf_link__destroy(h->others);
	h->others = NULL;
}
