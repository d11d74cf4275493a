/* SPDX-License-Identifier: GPL-2.0-only */
/* Requests in flight: what a server has read and not answered. The state lies with the socket and
 * is freed with it. Bytes that come in begin a request or go on with it, bytes that go out are its
 * answer, whichever thread sends them, and whether or not that is seen (unseen.bpf.h). */
#include "common.bpf.h"

#include <bpf/bpf_endian.h>

extern const volatile struct ct_request_config request_config;

#include "answer.bpf.h"
#include "connection.bpf.h"
#include "request_record.bpf.h"
#include "tls.bpf.h"
#include "unseen.bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile struct ct_config config =
	{}; /* this object stands alone: only watch_unmarked is looked at */
const volatile struct ct_request_config request_config = {};

#define MSG_PEEK     2
#define MSG_ERRQUEUE 0x2000 /* bytes that the process itself has sent come back with times */

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
	c->reads++;
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
		keep_tail(c, b, bytes);
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
		keep_tail(c, b, bytes);
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
	c->reads++;
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
	       is_http2(start) || !b->address || (bytes < 8 && start[0] >= 'A' && start[0] <= 'Z');
}

/* What may be a request, and short, is read to where it stays, which is one reading instead of two.
 * False: it is only in START. */
static __always_inline bool read_request(struct connection *c, struct buffer *b, __u8 start[16])
{
	__u32 n = b->size;

	barrier_var(n); /* as in read_start() */
	if (c->flags & (IN_FLIGHT | MAY_GO_ON) || !b->address || n < 16 || n > SHORT_SIZE ||
		bpf_probe_read_user(c->head, n, (void *)b->address)) {
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

static __always_inline void take_request(
	struct sock *sk, struct connection *c, __u32 bytes, __u64 now)
{
	__u8 start[16] __attribute__((aligned(8))) = {};
	struct task_struct *task = bpf_get_current_task_btf();
	struct buffer b;
	bool is_short;

	find_buffer(&b, task, bytes);
	is_short = read_request(c, &b, start);
	if (is_silence(c, start, bytes))
		return;
	if (goes_on(c, start))
		c->flags |= IN_FLIGHT;
	if (!(c->flags & IN_FLIGHT)) {
		if (may_begin(c, &b, start, bytes))
			begin(sk, c, task, &b, is_short, start, bytes, now);
	} else if (c->protocol == CT_PROTOCOL_HTTP && is_method(start)) {
		queue(c, task, now);
	} else {
		go_on(sk, c, task, &b, bytes, now);
	}
}

static __always_inline int received(struct sock *sk, int bytes, int flags, bool has_cast)
{
	struct connection *c;
	__u32 sent;

	if (bytes <= 0 || flags & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	if (sk->__sk_common.skc_family == AF_UNIX && sk->sk_type == SOCK_STREAM)
		notice_at_peer(sk, bytes);
	c = connection_of(sk);
	if (!c)
		return 0;
	if (c->end == END_CLIENT) {
		c->sent = sent_of(sk);
		c->flags &= ~IN_FLIGHT;
		return 0;
	}
	if (!tells_sent(sk)) {
		sends_wanted = 1;
		if (!sends_seen)
			return 0;
	}
	sent = has_cast ? sent_of_cast(sk) : sent_of(sk);
	if (!sends_seen)
		notice_answer(c, sent);
	else if (!(c->flags & IN_FLIGHT))
		c->sent = sent; /* what was sent by ways that have no hook */
	if (!(c->flags & (EXEMPT | ONE_WAY)))
		take_request(sk, c, bytes, tick_time());
	return 0;
}

SEC("?tp_btf/sock_recv_length")
int BPF_PROG(request_received, struct sock *sk, int bytes, int flags)
{
	return received(sk, bytes, flags, true);
}

SEC("?tp_btf/sock_send_length")
int BPF_PROG(request_sent, struct sock *sk, int bytes, int flags)
{
	return sent(sk, bytes);
}

/* The same for kernels before 6.3, which have no such tracepoints. Not sock_recvmsg and
 * sock_sendmsg: the compiler puts those into their callers, where no program can be attached. */
SEC("?fexit/inet_recvmsg")
int BPF_PROG(
	exit_inet_recvmsg, struct socket *sock, void *message, __u64 size, int flags, int bytes)
{
	struct sock *sk = sock->sk;

	return sk ? received(sk, bytes, flags, false) : 0;
}

SEC("?fexit/inet6_recvmsg")
int BPF_PROG(
	exit_inet6_recvmsg, struct socket *sock, void *message, __u64 size, int flags, int bytes)
{
	struct sock *sk = sock->sk;

	return sk ? received(sk, bytes, flags, false) : 0;
}

SEC("?fexit/unix_stream_recvmsg")
int BPF_PROG(
	exit_unix_recvmsg, struct socket *sock, void *message, __u64 size, int flags, int bytes)
{
	struct sock *sk = sock->sk;

	return sk ? received(sk, bytes, flags, false) : 0;
}

SEC("?fexit/inet_sendmsg")
int BPF_PROG(exit_inet_sendmsg, struct socket *sock, void *message, __u64 size, int bytes)
{
	struct sock *sk = sock->sk;

	return sk ? sent(sk, bytes) : 0;
}

SEC("?fexit/inet6_sendmsg")
int BPF_PROG(exit_inet6_sendmsg, struct socket *sock, void *message, __u64 size, int bytes)
{
	struct sock *sk = sock->sk;

	return sk ? sent(sk, bytes) : 0;
}

SEC("?fexit/unix_stream_sendmsg")
int BPF_PROG(exit_unix_sendmsg, struct socket *sock, void *message, __u64 size, int bytes)
{
	struct sock *sk = sock->sk;

	return sk ? sent(sk, bytes) : 0;
}

/* sendfile and splice; since 6.5 they go through sendmsg. */
SEC("?fexit/inet_sendpage")
int BPF_PROG(exit_inet_sendpage, struct socket *sock, void *page, int offset, __u64 size, int flags,
	__s64 bytes)
{
	struct sock *sk = sock->sk;

	return sk ? sent(sk, (int)bytes) : 0;
}

/* A process is marked by its id: the mark may be another's by now. */
static __always_inline bool is_still_watched(struct connection *c)
{
	__u32 tgid = c->tgid;
	struct ct_mark *mark = bpf_map_lookup_elem(&marks, &tgid);

	if (!mark)
		return config.watch_unmarked;
	return mark->flags & CT_MARK_WATCHED && mark->start_ticks == c->start_ns / NSEC_PER_TICK;
}

static __always_inline bool is_due(struct connection *c, __u64 last, __u64 now)
{
	return c->flags & IN_FLIGHT && tick_age(last, now) >= request_config.slow_ns;
}

/* So many times the limit its answer is waited for; it was told long before. */
#define LATE_TIMES 10

/* What was sent meanwhile, and whether that is to be seen from now on. */
static __always_inline void look(struct sock *sk, struct connection *c, __u64 now)
{
	__u64 age;

	if (!sends_seen && !tells_sent(sk)) {
		c->flags &= ~(IN_FLIGHT | PIPELINED);
		c->queued = 0;
	} else if (!sends_seen) {
		notice_answer(c, sent_of(sk));
		if (sk->__sk_common.skc_family == AF_UNIX)
			notice_unread_answer(sk, c);
	}
	if (!(c->flags & IN_FLIGHT))
		return;
	age = tick_age(c->last_ns, now);
	if (c->queued || c->flags & PIPELINED ||
		(age >= request_config.close_ns && age / LATE_TIMES <= request_config.slow_ns))
		sends_wanted = 1;
}

SEC("?iter/bpf_sk_storage_map")
int request_scan(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	__u32 which = WORKPLACE_SCAN;
	volatile struct connection *c = ctx->value;
	struct sock *sk = ctx->sk;
	struct work *w;
	__u64 last, now;

	/* A closed one may stay for minutes, for what its peer has not taken. */
	if (!c || !sk || !sk->sk_socket || c->end != END_SERVER ||
		!is_still_watched((struct connection *)c))
		return 0;
	now = tick_time();
	look(sk, (struct connection *)c, now);
	last = c->last_ns;
	if (!is_due((struct connection *)c, last, now))
		return 0;
	w = bpf_map_lookup_elem(&works, &which);
	if (!w || !describe(w, which, sk, (struct connection *)c, now))
		return 0;
	/* Another CPU may have gone on with it meanwhile, or be at the next one. */
	if (c->last_ns == last && c->number == w->out.number &&
		is_due((struct connection *)c, last, now))
		bpf_seq_write(ctx->meta->seq, &w->out, sizeof(w->out));
	return 0;
}

/* Which process `request_sockets` is asked about, and for what; user space sets them before each
 * pass. */
__u32 sockets_tgid;
__u32 sockets_wanted; /* enum ct_socket_wanted */
__u64 sockets_age_ns;

static __always_inline bool serves(struct sock *sk)
{
	return sk->__sk_common.skc_state == TCP_LISTEN || end_of(sk) == END_SERVER;
}

/* Whether the socket is one of those that are asked for; *OUT has something about it then. */
static __always_inline bool fill_wanted(struct ct_socket *out, struct sock *sk)
{
	if (sockets_wanted == CT_SOCKETS_OUTBOUND) {
		fill_addresses(sk, out->local, out->peer, &out->local_port, &out->peer_port);
		return fill_outbound(out, sk) && out->age_ns >= sockets_age_ns;
	}
	if (sockets_wanted == CT_SOCKETS_SERVING ? !serves(sk)
						 : sk->__sk_common.skc_family == AF_UNIX)
		return false;
	fill_socket(out, sk);
	return sockets_wanted == CT_SOCKETS_SERVING || out->waiting;
}

/* Sockets of one process: work that lies in them, or what it waits for itself. */
SEC("?iter/task_file")
int request_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct ct_socket out;
	struct socket *sock;
	struct sock *sk;

	if (!task || !file || (__u32)task->tgid != sockets_tgid)
		return 0;
	sock = bpf_sock_from_file(file);
	sk = sock ? sock->sk : NULL;
	if (!sk || !is_stream(sk))
		return 0;
	__builtin_memset(&out, 0, sizeof(out));
	out.header.kind = CT_SOCKET;
	out.header.size = sizeof(out);
	out.header.time_ns = bpf_ktime_get_boot_ns();
	out.family = sk->__sk_common.skc_family;
	if (!fill_wanted(&out, sk))
		return 0;
	out.tgid = task->tgid;
	out.fd = ctx->fd;
	out.inode = BPF_CORE_READ(file, f_inode, i_ino);
	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}
