/* SPDX-License-Identifier: GPL-2.0-only */
/* What is told of a request in flight: from its connection, its socket and the head that was kept
 * of it. */
#ifndef CORETRAP_REQUEST_RECORD_BPF_H
#define CORETRAP_REQUEST_RECORD_BPF_H

#include <bpf/bpf_endian.h>

#include "connection.bpf.h"

/* Bytes lie in the socket and nobody reads them. A scan may see some that came this moment, so that
 * it takes two of them, the last reading being the same. */
static __always_inline bool is_left_unread(struct connection *c, struct work *w, __u32 which)
{
	__u64 last = c->last_ns;

	if (!w->out.unread || which != WORKPLACE_SCAN)
		return w->out.unread;
	if (c->unread_since == last)
		return true;
	c->unread_since = last;
	return false;
}

/* Whether the whole request has come: what a client still uploads is nobody's fault here, but what
 * nobody reads is no upload. */
static __always_inline bool has_all_come(struct connection *c, __u32 head_size, struct work *w)
{
	struct http *h = &w->http;
	__u64 tail = c->tail;

	if (c->protocol != CT_PROTOCOL_HTTP || c->flags & PIPELINED)
		return true;
	if (h->head_size && !h->chunked)
		return c->bytes >= h->head_size + h->content_length;
	if (c->flags & HEAD_GAP)
		return true;
	if (!h->head_size)
		return head_size >= HEAD_SIZE;
	if (c->bytes <= HEAD_SIZE && head_size >= h->head_size && head_size >= 8 &&
		head_size <= HEAD_SIZE)
		bpf_probe_read_kernel(&tail, sizeof(tail), w->head + head_size - 8);
	return tail >> 24 == ((__u64)WORD('0', '\r', '\n', '\r') | (__u64)'\n' << 32);
}

static __always_inline void fill_head(struct work *w, __u32 which, const __u8 *bytes, __u32 size)
{
	barrier_var(size);
	size &= sizeof(w->head) - 1; /* so it is; older kernels want to see it here */
	bpf_probe_read_kernel(w->head, size, bytes);
	parse_head(w, which, size);
	__builtin_memcpy(w->out.method, w->http.method, sizeof(w->out.method));
	__builtin_memcpy(w->out.path, w->http.path, sizeof(w->out.path));
	__builtin_memcpy(w->out.traceparent, w->http.traceparent, sizeof(w->out.traceparent));
	__builtin_memcpy(w->out.request_id, w->http.request_id, sizeof(w->out.request_id));
	w->out.flags |= w->http.flags;
}

static __always_inline void fill_request(
	struct ct_request *out, struct sock *sk, struct connection *c, __u64 now)
{
	__builtin_memset(out, 0, sizeof(*out));
	out->header.kind = CT_CONNECTION;
	out->header.size = sizeof(*out);
	out->header.time_ns = bpf_ktime_get_boot_ns();
	out->start_ns = c->start_ns;
	out->cookie = c->cookie;
	out->inode = BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
	out->number = c->number;
	out->age_ns = tick_age(c->last_ns, now);
	out->bytes_in = c->bytes;
	out->goroutine = c->goroutine;
	out->tgid = c->tgid;
	out->tid = c->tid;
	out->unread = unread_of(sk);
	out->protocol = c->protocol;
	out->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (c->flags & PIPELINED)
		out->flags |= CT_REQUEST_PIPELINED;
	fill_addresses(sk, out->local, out->peer, &out->local_port, &out->peer_port);
}

/* Fills the request in flight of a server's socket; false: it has not all come. */
static __always_inline bool describe(
	struct work *w, __u32 which, struct sock *sk, struct connection *c, __u64 now)
{
	const __u8 *bytes;
	__u32 size;

	fill_request(&w->out, sk, c, now);
	if (c->protocol != CT_PROTOCOL_HTTP || c->flags & PIPELINED)
		return true;
	if (!find_head(sk, c, &bytes, &size))
		return true;
	fill_head(w, which, bytes, size);
	return has_all_come(c, size, w) || is_left_unread(c, w, which);
}

#endif
