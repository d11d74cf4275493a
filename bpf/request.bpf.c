/* SPDX-License-Identifier: GPL-2.0-only */
/* Requests in flight: what a server has read and not answered. The state lies with the socket and
 * is freed with it. Bytes that come in begin a request or go on with it, bytes that go out are its
 * answer, whichever thread sends them, and whether or not that is seen (unseen.bpf.h). */
#include "common.bpf.h"

#include <bpf/bpf_endian.h>

extern const volatile struct ct_request_config request_config;

#include "answer.bpf.h"
#include "connection.bpf.h"
#include "request_intake.bpf.h"
#include "request_record.bpf.h"
#include "unseen.bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile struct ct_config config =
	{}; /* this object stands alone: only watch_unmarked is looked at */
const volatile struct ct_request_config request_config = {};

#define MSG_PEEK     2
#define MSG_ERRQUEUE 0x2000 /* bytes that the process itself has sent come back with times */

/* All of TCP is seen as it is read, by request_read: these sockets need no more. User space says
 * so. */
__u32 plain_seen;

/* Some socket of a watched process does: user space asks as with sends_wanted. */
__u32 others_wanted;

static __always_inline int received(struct sock *sk, int bytes, int flags, bool by_tracepoint)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct connection *c;
	struct buffer b;
	__u32 sent;

	if (bytes <= 0 || flags & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	if (by_tracepoint && plain_seen && is_plain_tcp(sk))
		return 0;
	if (sk->__sk_common.skc_family == AF_UNIX && sk->sk_type == SOCK_STREAM)
		notice_at_peer(sk, bytes);
	c = known_connection(sk);
	if (!c && task_is_watched(task))
		c = new_connection(sk);
	if (!c)
		return 0;
	if (c->end != END_CLIENT && !tells_sent(sk)) {
		sends_wanted = 1;
		if (!sends_seen)
			return 0;
	}
	if (by_tracepoint && sk->sk_protocol == IPPROTO_TCP) {
		sent = tcp_of(sk)->write_seq;
		c->read = tcp_of(sk)->copied_seq; /* it may become a plain one */
	} else {
		sent = sent_of(sk);
	}
	if (!may_ask(c, sent))
		return 0;
	find_buffer(&b, task, bytes);
	take_request(sk, c, task, &b, bytes, tick_time());
	return 0;
}

SEC("?tp_btf/sock_recv_length")
int BPF_PROG(request_received, struct sock *sk, int bytes, int flags)
{
	return received(sk, bytes, flags, true);
}

/* Of a connection that is seen for the first time, what was read from the skb that is there, unless
 * something was sent since it came. */
static __always_inline struct connection *new_tcp_connection(struct sock *sk, struct tcp_sock *tp)
{
	struct connection *c = new_connection(sk);
	struct sk_buff *skb;
	__u32 first, read = tp->copied_seq;

	if (!c)
		return NULL;
	skb = last_skb(sk, &first);
	c->read = read;
	if (skb && read - first <= skb->len && !sent_last(tp))
		c->read = first;
	return c;
}

/* A socket of a watched process needs the other hook. */
static __always_inline void want_others(struct sock *sk, struct connection *c)
{
	if (c)
		c->read = tcp_of(sk)->copied_seq;
	if (sk->sk_socket && sk->sk_socket->file) /* else it is the kernel's own */
		others_wanted = 1;
}

/* Something was read from a TCP socket, or looked at: for each of its skbs. */
SEC("?tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(request_read, struct sock *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct connection *c = known_connection(sk);
	struct tcp_sock *tp;
	struct buffer b;
	__u32 read, bytes;

	if (!c && !task_is_watched(task))
		return 0;
	if (!is_plain_tcp(sk)) {
		want_others(sk, c);
		return 0;
	}
	tp = tcp_of(sk);
	if (!c)
		c = new_tcp_connection(sk, tp);
	if (!c)
		return 0;
	read = tp->copied_seq;
	bytes = read - c->read;
	c->read = read;
	if ((__s32)bytes <= 0 || !may_ask(c, tp->write_seq))
		return 0;
	if (find_in_skb(&b, sk, read, bytes))
		take_request(sk, c, task, &b, bytes, tick_time());
	else
		take_unknown(c, task, bytes, tick_time());
	return 0;
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

static __always_inline struct sock *stream_of(struct file *file)
{
	struct socket *sock = bpf_sock_from_file(file);
	struct sock *sk = sock ? sock->sk : NULL;

	return sk && is_stream(sk) ? sk : NULL;
}

/* Sockets of one process: work that lies in them, or what it waits for itself. */
SEC("?iter/task_file")
int request_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct ct_socket out;
	struct sock *sk;

	if (!task || !file || (__u32)task->tgid != sockets_tgid)
		return 0;
	sk = stream_of(file);
	if (!sk)
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

/* Whether requests come to a watched process by sockets that request_read does not see, or it asks
 * others by them. Where it only writes it waits for nobody: so a service has its journal. */
SEC("?iter/task_file")
int request_others(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sock *sk;

	if (others_wanted || !task || !file || !task_is_watched(task))
		return 0;
	sk = stream_of(file);
	if (sk && !is_plain_tcp(sk) && (serves(sk) || end_of(sk) == END_CLIENT) &&
		!(sk->sk_shutdown & RCV_SHUTDOWN))
		others_wanted = 1;
	return 0;
}

/* The bytes that wait at each TCP socket of the process, as request_read would find them: user
 * space knows which ones it has sent there, and that the socket is a plain one. */
SEC("?iter/task_file")
int request_pages(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	__u8 sample[CT_PAGES_SAMPLE];
	struct sk_buff *skb;
	struct sock *sk;
	__u64 address;
	__u32 seq;

	if (!task || !file || (__u32)task->tgid != sockets_tgid)
		return 0;
	sk = stream_of(file);
	skb = sk && sk->sk_protocol == IPPROTO_TCP ? last_skb(sk, &seq) : NULL;
	if (!skb || skb->len != skb->data_len)
		return 0;
	plain_receive = (__u64)sk->__sk_common.skc_prot->recvmsg;
	find_pages(&page_array, &page_bytes);
	address = find_piece(skb, 0, sizeof(sample));
	if (address && bpf_probe_read_kernel(sample, sizeof(sample), (void *)address) == 0)
		bpf_seq_write(ctx->meta->seq, sample, sizeof(sample));
	return 0;
}
