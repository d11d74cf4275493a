/* SPDX-License-Identifier: GPL-2.0-only */
/* What is kept of a connection of a watched process: the request in flight, the head that it began
 * with, who read it. It lies with the socket and is freed with it. */
#ifndef CORETRAP_CONNECTION_BPF_H
#define CORETRAP_CONNECTION_BPF_H

#include "common.bpf.h"
#include "arch.bpf.h"
#include "http.bpf.h"
#include "skb.bpf.h"
#include "socket.bpf.h"

#define QUEUE_SIZE 4   /* pipelined requests whose times are kept */
#define SHORT_SIZE 640 /* with the rest and the kernel's own element an allocation of 1 KiB */

enum connection_flags {
	IN_FLIGHT = 1 << 0, /* a client's, of AF_UNIX: its peer has read what it sent */
	EXEMPT = 1 << 1,    /* for good: an upgraded connection, a tunnel, HTTP/2 */
	ONE_WAY = 1 << 2,   /* until something is sent */
	HEAD_GAP = 1 << 3,  /* bytes of the head could not be read */
	PIPELINED = 1 << 4,
	CONNECT = 1 << 5,    /* becomes a tunnel when it is answered */
	SHORT_HEAD = 1 << 6, /* all that came of it is in the connection */
	MAY_GO_ON = 1 << 7,  /* what was sent may have been a 100 Continue */
	READING = 1 << 8,    /* the call that has read last goes on */
};

struct connection {
	__u64 first_ns, last_ns; /* of the request; a client's: last_ns of what its peer read */
	__u64 looked_ns;	 /* when an answer was looked at last */
	__u64 number;		 /* of requests, those that were put off as well */
	__u64 bytes;
	__u64 tail;	/* the last 8 bytes, kept once a request is longer than the head */
	__u64 start_ns; /* of the process below */
	__u64 cookie;
	__u64 exchanges; /* requests that were answered */
	__u64 goroutine;
	__u64 unread_since; /* the last_ns after which a scan saw unread bytes */
	__u32 tgid, tid;    /* who read last */
	__u32 sent;	    /* as sent_of() had it, at the last look */
	__u32 read;	    /* of TCP: copied_seq, likewise */
	__u32 reads;	    /* since something was sent */
	__u32 skip;	    /* bytes of a TLS record that asks for no answer */
	__u16 flags;
	__u8 end;      /* enum end */
	__u8 protocol; /* enum ct_protocol */
	__u16 head_size;
	__u8 queued;
	__u8 padding;
	__u64 queue[QUEUE_SIZE]; /* when further requests were read */
	__u8 head[SHORT_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} connections SEC(".maps");

struct head {
	__u32 size;
	__u32 padding;
	__u8 bytes[HEAD_SIZE];
};

/* Of longer ones. Apart, so that most connections pay for it neither in memory nor in time. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct head);
} heads SEC(".maps");

/* How many processes of Go there are: most hosts have none to look up. */
__u32 go_count;

/* Which they are: user space knows. LRU, since nobody takes out those that have ended. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct ct_go);
} go_processes SEC(".maps");

/* The kernel's ticks, as time: a clock that costs nothing to read, for what is compared with tenths
 * of seconds. Of what a server does in a second, four of five readings would be of a finer one. */
static __always_inline __u64 tick_time(void)
{
	return bpf_jiffies64() * request_config.tick_ns;
}

/* At least so much time has passed. */
static __always_inline __u64 tick_age(__u64 since, __u64 now)
{
	return now > since + request_config.tick_ns ? now - since - request_config.tick_ns : 0;
}

/* The one filter that everybody's traffic goes through: as cheap as can be. As is_watched(), but
 * TASK comes typed, and is read without a call. */
static __always_inline bool task_is_watched(struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct ct_mark *mark;
	__u64 *hint;

	if (!config.watch_unmarked) {
		hint = mark_hint(tgid);
		if (!hint || !*hint)
			return false;
	}
	mark = bpf_map_lookup_elem(&marks, &tgid);
	if (!mark || !mark_holds(mark, task->group_leader->start_boottime,
			     task->group_leader->self_exec_id))
		return config.watch_unmarked;
	return mark->flags & CT_MARK_WATCHED;
}

/* The state of a connection, if it has one. Most sockets have no storage of anybody's, which is
 * seen without a call. */
static __always_inline struct connection *known_connection(struct sock *sk)
{
	return sk->sk_bpf_storage ? bpf_sk_storage_get(&connections, sk, NULL, 0) : NULL;
}

/* One begins where a watched process reads for the first time. */
static __always_inline struct connection *new_connection(struct sock *sk)
{
	enum end end = is_stream(sk) ? end_of(sk) : END_NONE;
	struct connection *c;

	if (end == END_NONE)
		return NULL;
	c = bpf_sk_storage_get(&connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!c) {
		count_loss(CT_LOSS_REQUEST_STORAGE);
		return NULL;
	}
	c->end = end;
	c->cookie = bpf_get_socket_cookie(sk);
	c->sent = sent_of(sk);
	return c;
}

/* Since when a TCP connection waits for its peer, in the kernel's ticks modulo 2^32. Of what is
 * sent again and again the last time is known, and the time to the next, which doubles each time.
 */
static __always_inline __u32 waits_since(struct tcp_sock *tp)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)tp;
	__u32 next = icsk->icsk_rto, since = tp->lsndtime;

	since -= next - (next >> (icsk->icsk_retransmits & 31));
	return (__s32)(tp->rcv_tstamp - since) > 0 && icsk->icsk_retransmits ? tp->rcv_tstamp
									     : since;
}

/* Whether something was sent since something came. */
static __always_inline bool sent_last(struct tcp_sock *tp)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)tp;

	return tp->data_segs_out && (__s32)(tp->lsndtime - icsk->icsk_ack.lrcvtime) > 0;
}

/* Whether the peer owes an answer: since the last reading something was sent. Where nothing was
 * read since the watch began, the times tell, which are those of ticks. */
static __always_inline bool peer_owes(struct tcp_sock *tp, struct connection *c)
{
	if (c)
		return tp->write_seq != c->sent;
	if (!tp->bytes_received)
		return tp->data_segs_out;
	return sent_last(tp);
}

/* A connection that the process made, and whose peer it waits for. */
static __always_inline bool fill_outbound(struct ct_socket *out, struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct connection *c = known_connection(sk);
	__u32 ticks;

	if (end_of(sk) != END_CLIENT)
		return false;
	if (!tp) {
		if (!c || !(c->flags & IN_FLIGHT))
			return false;
		out->age_ns = tick_age(c->last_ns, tick_time());
		return true;
	}
	if (sk->__sk_common.skc_state != TCP_ESTABLISHED || !peer_owes(tp, c))
		return false;
	ticks = (__u32)bpf_jiffies64() - waits_since(tp);
	out->age_ns = ticks ? (ticks - 1) * request_config.tick_ns : 0;
	return true;
}

static __always_inline __u64 current_goroutine(__u32 tgid)
{
	struct ct_go *go = go_count ? bpf_map_lookup_elem(&go_processes, &tgid) : NULL;
	__u64 id = 0;

	if (!go)
		return 0;
	bpf_probe_read_user(&id, sizeof(id), (void *)(current_g() + go->offset));
	return id;
}

/* Something was sent; whether it may answer a request. */
static __always_inline bool note_sent(struct connection *c)
{
	c->reads = 0;
	c->flags &= ~ONE_WAY;
	return c->flags & IN_FLIGHT;
}

static __always_inline void end_request(struct connection *c)
{
	c->exchanges++;
	c->flags &= ~(IN_FLIGHT | PIPELINED);
}

static __always_inline void take_thread(struct connection *c, struct task_struct *task)
{
	__u32 tgid = task->tgid;

	if (c->tgid != tgid) {
		c->tgid = tgid;
		c->start_ns = task->group_leader->start_boottime;
	}
	c->tid = task->pid;
	c->goroutine = current_goroutine(tgid);
}

/* In pieces of constant sizes: the verifier does not see that two variables together stay within
 * bounds. A function that it looks at by itself, since there are so many ways through. FROM is in
 * the kernel or the process; 0: not all could be read. */
__noinline int append_head(struct head *h, __u64 from, __u32 size, __u32 in_kernel)
{
	__u32 at;

	if (!h) /* it never is, but for all that the verifier knows here */
		return 0;
	at = h->size;
#pragma unroll
	for (__u32 piece = 1024; piece; piece >>= 1) {
		struct buffer b = {.address = from, .in_kernel = in_kernel};

		if (!(size & piece))
			continue;
		if (at > HEAD_SIZE - piece || read_buffer(h->bytes + at, piece, &b))
			return 0;
		at += piece;
		from += piece;
	}
	h->size = at;
	return 1;
}

static __always_inline struct head *head_of(struct sock *sk, __u64 flags)
{
	return bpf_sk_storage_get(&heads, sk, NULL, flags);
}

/* The first bytes of a head; 0, and an empty head, if they cannot be read. */
static __always_inline __u32 start_head(struct head *h, struct buffer *b)
{
	__u32 n = b->size < HEAD_SIZE ? b->size : HEAD_SIZE;

	barrier_var(n); /* or the compiler drops the check by which the verifier sees the bound */
	if (n > HEAD_SIZE || !b->address || read_buffer(h->bytes, n, b))
		n = 0;
	h->size = n;
	return n;
}

/* The head of the connection's request; false: there is none. */
static __always_inline bool find_head(
	struct sock *sk, struct connection *c, const __u8 **bytes, __u32 *size)
{
	struct head *h;

	if (c->flags & SHORT_HEAD) {
		*bytes = c->head;
		*size = c->head_size;
		return true;
	}
	h = head_of(sk, 0);
	if (!h)
		return false;
	*bytes = h->bytes;
	*size = h->size;
	return true;
}

/* More of it comes, and may be too much for where it is. */
static __always_inline struct head *lengthen_head(struct sock *sk, struct connection *c)
{
	struct head *h;

	if (!(c->flags & SHORT_HEAD))
		return head_of(sk, 0);
	h = head_of(sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (!h) {
		count_loss(CT_LOSS_REQUEST_STORAGE);
		return NULL;
	}
	bpf_probe_read_kernel(h->bytes, SHORT_SIZE, c->head);
	h->size = c->head_size;
	c->flags &= ~SHORT_HEAD;
	return h;
}

static __always_inline void go_on_head(
	struct sock *sk, struct connection *c, struct buffer *b, __u32 bytes)
{
	struct head *h = lengthen_head(sk, c);
	__u32 n = b->size;

	if (!h)
		c->flags |= HEAD_GAP;
	if (!h || c->flags & HEAD_GAP || h->size >= HEAD_SIZE)
		return;
	if (n > HEAD_SIZE - h->size)
		n = HEAD_SIZE - h->size;
	else if (n < bytes)
		c->flags |= HEAD_GAP;
	if (!append_head(h, b->address, n, b->in_kernel))
		c->flags |= HEAD_GAP;
}

/* As find_last(), of what the process has. */
static __always_inline bool find_last_of_user(struct buffer *b, __u32 bytes, __u32 n, __u64 *last)
{
	__u64 end = b->address + b->size;

	if (b->size < bytes ||
		bpf_probe_read_user(last, sizeof(*last), (void *)(end - sizeof(*last))))
		return false;
	*last = *last >> (64 - n * 8) << (64 - n * 8);
	return true;
}

/* The end of a body in chunks is told by its last bytes. */
static __always_inline void keep_tail(
	struct sock *sk, struct connection *c, struct buffer *b, __u32 bytes)
{
	__u32 n = bytes < sizeof(c->tail) ? bytes : sizeof(c->tail);
	__u64 last = 0;

	if (n == 0)
		return;
	if (b->in_kernel ? !find_last(sk, b, n, &last) : !find_last_of_user(b, bytes, n, &last))
		c->flags |= HEAD_GAP; /* the end of what came is out of sight */
	else
		c->tail = n == sizeof(last) ? last : c->tail >> n * 8 | last;
}

#endif
