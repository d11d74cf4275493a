/* SPDX-License-Identifier: GPL-2.0-only */
/* Answers that nobody was seen sending. A hook on all that is sent would cost every process as much
 * as the one on what is read, and mostly for nothing: what a server has sent also shows in its
 * socket, at its next read or at the next pass. So there is one only while something is going on
 * that needs more, which user space decides by what is said here. */
#ifndef CORETRAP_UNSEEN_BPF_H
#define CORETRAP_UNSEEN_BPF_H

#include "connection.bpf.h"

/* "HTTP/1.1 100 Continue\r\n\r\n", or without the word, as Tomcat has it. */
#define CONTINUE_SIZE	    25
#define SHORT_CONTINUE_SIZE 17

/* Everything that is sent is seen: user space says so. */
__u32 sends_seen;

/* What user space asks after each pass, and sets to 0 before the next: a request that may become
 * slow, whose answer is worth its exact time; several at once on a connection, or a kind of socket
 * that does not tell what was sent. */
__u32 sends_wanted;

/* N bytes that were sent answered the request in flight, and all that were queued: which of them,
 * nobody saw. */
static __always_inline void take_for_answered(struct connection *c, __u32 n)
{
	if (!note_sent(c))
		return;
	if (c->protocol == CT_PROTOCOL_HTTP && (n == CONTINUE_SIZE || n == SHORT_CONTINUE_SIZE))
		c->flags |= MAY_GO_ON;
	if (c->flags & CONNECT)
		c->flags |= EXEMPT;
	if (c->queued || c->flags & PIPELINED)
		sends_wanted = 1;
	c->queued = 0;
	end_request(c);
}

/* Whether the socket tells what was sent; without that there are no requests to be seen. */
static __always_inline bool tells_sent(struct sock *sk)
{
	if (sk->__sk_common.skc_family == AF_UNIX)
		return knows_unix_peers();
	return sk->sk_protocol == IPPROTO_TCP ||
	       (sk->sk_protocol == IPPROTO_MPTCP && bpf_core_type_exists(struct mptcp_sock));
}

static __always_inline void notice_answer(struct connection *c, __u32 sent)
{
	__u32 n = sent - c->sent;

	if ((__s32)n <= 0) /* another CPU may have looked later */
		return;
	c->sent = sent;
	take_for_answered(c, n);
}

/* What a Unix socket has sent shows in nothing of its own, but its peer is on this host too: it has
 * read some of it, or not yet, or it never will. */
static __always_inline void notice_unread_answer(struct sock *sk, struct connection *c)
{
	struct sock *peer = unix_peer(sk);

	if (peer && (BPF_CORE_READ(peer, sk_receive_queue.qlen) || !BPF_CORE_READ(peer, sk_socket)))
		take_for_answered(c, 0);
}

/* SK, a stream, has read BYTES of what its peer sent. */
static __always_inline void notice_at_peer(struct sock *sk, __u32 bytes)
{
	struct sock *peer = unix_peer(sk);
	struct connection *c = peer ? known_connection(peer) : NULL;

	if (!c)
		return;
	if (c->end == END_CLIENT) {
		c->last_ns = tick_time();
		c->flags |= IN_FLIGHT;
	} else if (!sends_seen) {
		take_for_answered(c, bytes);
	}
}

#endif
