/* SPDX-License-Identifier: GPL-2.0-only */
/* What is read begins a request, goes on with one, or asks for nothing. */
#ifndef CORETRAP_REQUEST_INTAKE_BPF_H
#define CORETRAP_REQUEST_INTAKE_BPF_H

#include "connection.bpf.h"
#include "tls.bpf.h"
#include "unseen.bpf.h"

/* A connection on which nothing was ever sent goes one way, once this many reads, or a second one
 * this long after the first, had no answer. */
#define ONE_WAY_READS 8
#define ONE_WAY_NS    200000000ULL

static __always_inline void leave_one_way(struct connection *c, __u64 now)
{
	if (c->protocol != CT_PROTOCOL_GENERIC || c->exchanges)
		return;
	if (c->reads >= ONE_WAY_READS || now - c->first_ns > ONE_WAY_NS) {
		c->flags |= ONE_WAY;
		c->flags &= ~IN_FLIGHT;
	}
}

static __always_inline void go_on(struct sock *sk, struct connection *c, struct task_struct *task,
	struct buffer *b, __u32 bytes, __u64 now)
{
	c->last_ns = now;
	c->bytes += bytes;
	c->reads += b->is_last;
	take_thread(c, task);
	leave_one_way(c, now);
	if (c->protocol != CT_PROTOCOL_HTTP || c->flags & PIPELINED)
		return;
	if (!b->address) {
		c->flags |= HEAD_GAP;
		return;
	}
	go_on_head(sk, c, b, bytes);
	if (c->bytes > HEAD_SIZE)
		keep_tail(sk, c, b, bytes);
}

/* A head that is longer, or too short to tell what it is. */
static __always_inline void begin_head(
	struct sock *sk, struct connection *c, struct buffer *b, __u32 bytes)
{
	struct head *head = head_of(sk, BPF_SK_STORAGE_GET_F_CREATE);

	if (!head)
		count_loss(CT_LOSS_REQUEST_STORAGE);
	if (!head || start_head(head, b) < (bytes < HEAD_SIZE ? bytes : HEAD_SIZE))
		c->flags |= HEAD_GAP;
	if (bytes > HEAD_SIZE)
		keep_tail(sk, c, b, bytes);
}

/* IS_SHORT: the first bytes are in the connection. */
static __always_inline void begin(struct sock *sk, struct connection *c, struct task_struct *task,
	struct buffer *b, bool is_short, const __u8 start[16], __u32 bytes, __u64 now)
{
	if (!b->address && c->protocol != CT_PROTOCOL_TLS)
		c->protocol = CT_PROTOCOL_GENERIC;
	if (is_http2(start)) {
		c->protocol = CT_PROTOCOL_HTTP2;
		c->flags |= EXEMPT;
		return;
	}
	if (is_method(start))
		c->protocol = CT_PROTOCOL_HTTP;
	c->first_ns = c->last_ns = now;
	c->number++;
	barrier(); /* a pass on another CPU takes it for the request before until it is in flight */
	c->flags = *(__u32 *)start == WORD('C', 'O', 'N', 'N') ? IN_FLIGHT | CONNECT : IN_FLIGHT;
	c->bytes = bytes;
	c->tail = 0;
	c->queued = 0;
	c->reads += b->is_last;
	take_thread(c, task);
	if (c->protocol != CT_PROTOCOL_HTTP)
		return;
	if (!is_short)
		begin_head(sk, c, b, bytes);
	else
		c->flags |= b->size < bytes ? SHORT_HEAD | HEAD_GAP : SHORT_HEAD;
}

static __always_inline void queue(struct connection *c, struct task_struct *task, __u64 now)
{
	if (c->queued >= QUEUE_SIZE) {
		count_loss(CT_LOSS_PIPELINE);
		return;
	}
	c->queue[c->queued & (QUEUE_SIZE - 1)] = now;
	c->queued++;
	sends_wanted = 1;
	take_thread(c, task);
}

/* Records of TLS that ask for nothing. */
static __always_inline bool is_silence(struct connection *c, const __u8 start[16], __u32 bytes)
{
	__u32 skip = 0;

	if (c->protocol == CT_PROTOCOL_GENERIC && is_tls(start))
		c->protocol = CT_PROTOCOL_TLS;
	if (c->protocol != CT_PROTOCOL_TLS)
		return false;
	if (c->skip >= bytes) {
		c->skip -= bytes;
		return true;
	}
	c->skip = 0;
	if (!is_tls_silence(start, bytes, c->exchanges, &skip))
		return false;
	c->skip = skip;
	return true;
}

/* What is left of a body whose request was answered before it came is no request. A first byte may
 * come alone: Go reads one to see whether the client is still there. */
static __always_inline bool may_begin(
	struct connection *c, struct buffer *b, const __u8 start[16], __u32 bytes)
{
	return c->protocol != CT_PROTOCOL_HTTP || is_method(start) || is_any_method(start) ||
	       is_http2(start) || (!b->address && !b->in_kernel) ||
	       (bytes < 8 && start[0] >= 'A' && start[0] <= 'Z');
}

/* What may be a request, and short, is read to where it stays, which is one reading instead of two.
 * False: it is only in START. */
static __always_inline bool read_request(struct connection *c, struct buffer *b, __u8 start[16])
{
	__u32 n = b->size;

	barrier_var(n); /* as in read_start() */
	if (c->flags & (IN_FLIGHT | MAY_GO_ON) || !b->address || n < 16 || n > SHORT_SIZE ||
		read_buffer(c->head, n, b)) {
		read_start(b, start);
		return false;
	}
	__builtin_memcpy(start, c->head, 16);
	c->head_size = n;
	return true;
}

/* Bytes of the one before: its answer was none. */
static __always_inline bool goes_on(struct connection *c, const __u8 start[16])
{
	bool may = c->flags & MAY_GO_ON;

	c->flags &= ~MAY_GO_ON;
	return may && !is_method(start) && !is_any_method(start);
}

static __always_inline void take_request(struct sock *sk, struct connection *c,
	struct task_struct *task, struct buffer *b, __u32 bytes, __u64 now)
{
	__u8 start[16] __attribute__((aligned(8))) = {};
	bool is_short = read_request(c, b, start);

	if (is_silence(c, start, bytes))
		return;
	if (goes_on(c, start))
		c->flags |= IN_FLIGHT;
	if (!(c->flags & IN_FLIGHT)) {
		if (may_begin(c, b, start, bytes))
			begin(sk, c, task, b, is_short, start, bytes, now);
	} else if (c->protocol == CT_PROTOCOL_HTTP && is_method(start) && !(c->flags & READING)) {
		queue(c, task, now);
	} else {
		go_on(sk, c, task, b, bytes, now);
	}
	if (b->is_last)
		c->flags &= ~READING;
	else
		c->flags |= READING;
}

/* Bytes were read that nobody can look at any more: they begin nothing. */
static __always_inline void take_unknown(
	struct connection *c, struct task_struct *task, __u32 bytes, __u64 now)
{
	if (!(c->flags & IN_FLIGHT))
		return;
	c->flags |= HEAD_GAP;
	c->bytes += bytes;
	c->last_ns = now;
	take_thread(c, task);
}

/* Before something is read: SENT shows whether the request before was answered. False: what is read
 * now is none. */
static __always_inline bool may_ask(struct connection *c, __u32 sent)
{
	if (c->end == END_CLIENT) {
		c->sent = sent;
		c->flags &= ~IN_FLIGHT;
		return false;
	}
	if (!sends_seen)
		notice_answer(c, sent);
	else if (!(c->flags & IN_FLIGHT))
		c->sent = sent; /* what was sent by ways that have no hook */
	return !(c->flags & (EXEMPT | ONE_WAY));
}

#endif
