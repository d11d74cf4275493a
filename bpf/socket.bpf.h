/* SPDX-License-Identifier: GPL-2.0-only */
/* Sockets: which end of a connection they are, and who is at the other one. */
#ifndef CORETRAP_SOCKET_BPF_H
#define CORETRAP_SOCKET_BPF_H

#include "arch.bpf.h"
#include "common.bpf.h"

#define AF_UNIX		1
#define AF_INET		2
#define AF_INET6	10
#define SOCK_STREAM	1
#define TCP_ESTABLISHED 1 /* include/net/tcp_states.h */
#define TCP_CLOSE_WAIT	8
#define TCP_LAST_ACK	9
#define TCP_LISTEN	10
#define TCP_CLOSING	11
#define RCV_SHUTDOWN	1
#define IPPROTO_TCP	6
#define IPPROTO_MPTCP	262

extern void *bpf_rdonly_cast(void *object, __u32 type) __ksym __weak; /* since 6.2 */

enum end {
	END_NONE, /* a pair of sockets, or not a stream */
	END_SERVER,
	END_CLIENT,
};

/* Only streams have requests here. */
static __always_inline bool is_stream(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	return sk->sk_type == SOCK_STREAM &&
	       (family == AF_INET || family == AF_INET6 || family == AF_UNIX);
}

static __always_inline bool is_shared(struct unix_address *address)
{
	return BPF_CORE_READ(address, refcnt.refs.counter) > 1;
}

/* An accepted Unix socket has its listener's address. A client mostly has none, but may be bound
 * (sd-bus, SO_PASSCRED), to an address that it shares with nobody. */
static __always_inline enum end unix_end_of(struct unix_sock *u)
{
	struct unix_sock *peer = (struct unix_sock *)BPF_CORE_READ(u, peer);
	struct unix_address *own = BPF_CORE_READ(u, addr);
	struct unix_address *others = peer ? BPF_CORE_READ(peer, addr) : NULL;

	if (own && (!others || is_shared(own)))
		return END_SERVER;
	/* Both are bound: without the listener, which may be gone, nobody can tell. */
	return others && (!own || is_shared(others)) ? END_CLIENT : END_NONE;
}

/* Since 5.16. */
static __always_inline bool knows_unix_peers(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_unix_sock);
}

/* The other end of a Unix connection, which lives as long as this one; NULL: it is not known. */
static __always_inline struct sock *unix_peer(struct sock *sk)
{
	struct unix_sock *u = knows_unix_peers() ? bpf_skc_to_unix_sock(sk) : NULL;

	return u ? u->peer : NULL;
}

/* An accepted socket is a copy of its listener: it keeps the size of the listener's backlog. */
static __always_inline enum end end_of(struct sock *sk)
{
	if (sk->__sk_common.skc_family == AF_UNIX)
		return unix_end_of((struct unix_sock *)sk);
	return sk->sk_max_ack_backlog ? END_SERVER : END_CLIENT;
}

/* Its peer sends nothing more. */
static __always_inline bool has_ended(struct sock *sk)
{
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	return state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

/* Bytes that nobody has read yet. The end of the stream counts as one in the kernel. */
static __always_inline __u32 unread_of(struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 n;

	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX)
		return 0;
	n = BPF_CORE_READ(tp, rcv_nxt) - BPF_CORE_READ(tp, copied_seq);
	return n && has_ended(sk) ? n - 1 : n;
}

/* How much its process has put into a socket, modulo 2^32; 0: this kind does not tell. */
static __always_inline __u32 sent_of(struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (tp)
		return tp->write_seq;
	if (sk->sk_protocol == IPPROTO_MPTCP && bpf_core_type_exists(struct mptcp_sock))
		return BPF_CORE_READ((struct mptcp_sock *)sk, write_seq);
	return 0;
}

/* Without a call, for what each read goes through; for kernels since 6.2 alone, which is for the
 * programs of the tracepoints. */
static __always_inline struct tcp_sock *tcp_of(struct sock *sk)
{
	return bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct tcp_sock));
}

/* What reads from a TCP socket whose bytes nobody else takes; 0: not known. */
__u64 plain_receive;

/* A TCP socket that its process reads from, and nobody else does: no MPTCP, no keys of kTLS, no
 * sockmap, nobody in the kernel. */
static __always_inline bool is_plain_tcp(struct sock *sk)
{
	return sk->__sk_common.skc_family != AF_UNIX && sk->sk_protocol == IPPROTO_TCP &&
	       !sk->sk_user_data && (__u64)sk->__sk_common.skc_prot->recvmsg == plain_receive;
}

static __always_inline void fill_addresses(
	struct sock *sk, __u8 local[16], __u8 peer[16], __u16 *local_port, __u16 *peer_port)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (family == AF_UNIX)
		return;
	*local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	*peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (family == AF_INET) {
		bpf_core_read(local, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_core_read(peer, 4, &sk->__sk_common.skc_daddr);
		return;
	}
	bpf_core_read(local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	bpf_core_read(peer, 16, &sk->__sk_common.skc_v6_daddr);
}

/* The connections that wait at a listener of MPTCP, which is what Go's are, wait at the TCP socket
 * in it. */
static __always_inline struct sock *queue_of(struct sock *sk)
{
	if (!bpf_core_type_exists(struct mptcp_sock) || sk->sk_protocol != IPPROTO_MPTCP)
		return sk;
	return BPF_CORE_READ((struct mptcp_sock *)sk, first);
}

/* How much waits in a socket, and a number that changes when some of it is taken: the place in the
 * stream, or the connection at the head of the listener's queue. */
static __always_inline void fill_socket(struct ct_socket *out, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	struct sock *queue;

	if (sk->__sk_common.skc_state == TCP_LISTEN) {
		queue = queue_of(sk);
		out->flags = CT_SOCKET_LISTENS;
		out->waiting = BPF_CORE_READ(queue, sk_ack_backlog);
		out->room = BPF_CORE_READ(queue, sk_max_ack_backlog);
		out->position = (__u64)BPF_CORE_READ(
			(struct inet_connection_sock *)queue, icsk_accept_queue.rskq_accept_head);
	} else if (end_of(sk) == END_SERVER) {
		out->waiting = unread_of(sk);
		out->position = BPF_CORE_READ(tp, copied_seq);
	}
	fill_addresses(sk, out->local, out->peer, &out->local_port, &out->peer_port);
}

#endif
