/* SPDX-License-Identifier: GPL-2.0-only */
/* An answer that is seen as it is sent: whether it is one, with what status, and after how long. */
#ifndef CORETRAP_ANSWER_BPF_H
#define CORETRAP_ANSWER_BPF_H

#include "connection.bpf.h"
#include "request_record.bpf.h"
#include "unseen.bpf.h"

/* Answers of each process since it was first seen, for a share of them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} answers SEC(".maps");

static __always_inline bool wants_status(__u32 status)
{
	return status && status >= request_config.status_min && status <= request_config.status_max;
}

static __always_inline void report_answer(
	struct sock *sk, struct connection *c, __u32 status, __u64 now)
{
	__u32 which = WORKPLACE_ANSWER;
	struct work *w = bpf_map_lookup_elem(&works, &which);
	const __u32 head = sizeof(struct ct_header);
	struct ct_request *out;

	if (!w)
		return;
	if (!describe(w, which, sk, c, now) && !request_config.report_all && !wants_status(status))
		return;
	out = reserve(&events, CT_REQUEST, sizeof(*out), CT_LOSS_EVENT_RING_FULL);
	if (!out)
		return;
	w->out.status = status;
	bpf_probe_read_kernel((void *)out + head, sizeof(*out) - head, (void *)&w->out + head);
	bpf_ringbuf_submit(out, 0);
}

static __always_inline void count_answer(__u32 tgid)
{
	__u64 *n = bpf_map_lookup_elem(&answers, &tgid), one = 1;

	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&answers, &tgid, &one, BPF_ANY);
}

/* The next of the requests that were sent ahead: its clock runs from now on. */
static __always_inline void take_next(struct connection *c, __u64 now)
{
	if (!c->queued)
		return;
	c->first_ns = c->queue[0];
	c->queue[0] = c->queue[1];
	c->queue[1] = c->queue[2];
	c->queue[2] = c->queue[3];
	c->queued--;
	c->number++;
	c->last_ns = now;
	c->bytes = 0;
	c->flags |= IN_FLIGHT | PIPELINED;
}

/* Interim answers are shorter, but for those with fields: 101 and 103. For these a connection's
 * answers are looked at once a tick, which are all but where they are very many. */
#define INTERIM_SIZE 64

/* Some server here does: all answers are looked at. */
__u32 interim_seen;

/* Whether these bytes answer the request in flight; *STATUS is HTTP's, 0: not known. */
static __always_inline bool is_answer(struct connection *c, __u32 bytes, __u32 *status)
{
	__u8 start[16] __attribute__((aligned(8))) = {};
	struct buffer b;

	if (c->protocol != CT_PROTOCOL_HTTP)
		return true;
	find_buffer(&b, bpf_get_current_task_btf(), bytes);
	read_start(&b, start);
	*status = status_of(start);
	if (*status >= 100 && *status < 200 && *status != 101 && bytes >= INTERIM_SIZE)
		interim_seen = 1;
	if (*status == 101 || (c->flags & CONNECT && *status >= 200 && *status < 300))
		c->flags |= EXEMPT;
	else if (*status >= 100 && *status < 200)
		return false;
	/* Behind another's answer, whose body may still be on its way, only a head counts. */
	return *status || !(c->flags & PIPELINED);
}

/* What is sent has to be looked at; mostly it is not, and is an answer. */
static __always_inline bool is_looked_at(struct connection *c, __u32 bytes, bool slow, __u64 now)
{
	bool is_due = c->looked_ns != now;

	c->looked_ns = now;
	return slow || is_due || bytes < INTERIM_SIZE || interim_seen ||
	       c->flags & (PIPELINED | CONNECT) || request_config.status_max;
}

static __always_inline int sent(struct sock *sk, int bytes)
{
	struct connection *c;
	__u32 status = 0, total;
	bool slow;
	__u64 now;

	if (bytes <= 0)
		return 0;
	c = known_connection(sk);
	if (!c || c->end != END_SERVER)
		return 0;
	total = sent_of(sk);
	if (tells_sent(sk) && sk->__sk_common.skc_family != AF_UNIX && total == c->sent)
		return 0; /* it was noticed before */
	c->sent = total;
	now = tick_time();
	if (!note_sent(c))
		return 0;
	slow = tick_age(c->last_ns, now) >= request_config.slow_ns || request_config.report_all;
	if (is_looked_at(c, bytes, slow, now) && !is_answer(c, bytes, &status))
		return 0;
	if (request_config.count_answers)
		count_answer(c->tgid);
	if (slow || wants_status(status))
		report_answer(sk, c, status, now);
	end_request(c);
	take_next(c, now);
	return 0;
}

#endif
