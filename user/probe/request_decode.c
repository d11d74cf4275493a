/* SPDX-License-Identifier: MIT */
#include "probe/request_decode.h"

#include <abi.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/cleanup.h"

static const char *const names[REQUEST_PROTOCOLS] = {
	[REQUEST_GENERIC] = "generic",
	[REQUEST_HTTP] = "http",
	[REQUEST_TLS] = "tls",
};

const char *request_protocol_name(enum request_protocol protocol)
{
	return names[protocol];
}

const char *endpoint_format(const struct endpoint *e, char *buf, size_t size)
{
	char host[INET6_ADDRSTRLEN];

	if (e->family == AF_UNIX || !inet_ntop(e->family, e->address, host, sizeof(host)))
		snprintf(buf, size, "unix");
	else
		snprintf(buf, size, e->family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, e->port);
	return buf;
}

static void copy_text(char *out, const char *in, size_t in_size)
{
	size_t n = strnlen(in, in_size);

	memcpy(out, in, n);
	out[n] = '\0';
}

static int decode_protocol(uint16_t in, enum request_protocol *out)
{
	static const enum request_protocol protocols[] = {
		[CT_PROTOCOL_GENERIC] = REQUEST_GENERIC,
		[CT_PROTOCOL_HTTP] = REQUEST_HTTP,
		[CT_PROTOCOL_HTTP2] = REQUEST_GENERIC,
		[CT_PROTOCOL_TLS] = REQUEST_TLS,
	};

	if (in >= ARRAY_SIZE(protocols))
		return -EBADMSG;
	*out = protocols[in];
	return 0;
}

/* A socket for both families shows IPv4 peers as ::ffff:a.b.c.d. */
static void unmap(struct endpoint *e)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (e->family != AF_INET6 || memcmp(e->address, mapped, sizeof(mapped)) != 0)
		return;
	e->family = AF_INET;
	memmove(e->address, e->address + sizeof(mapped), 4);
	memset(e->address + 4, 0, sizeof(mapped));
}

static struct endpoint make_endpoint(uint16_t family, uint16_t port, const __u8 address[16])
{
	struct endpoint e = {.family = family, .port = port};

	memcpy(e.address, address, sizeof(e.address));
	unmap(&e);
	return e;
}

static void decode_texts(const struct ct_request *in, struct request *out)
{
	_Static_assert(sizeof(out->method) >= CT_METHOD_SIZE &&
			       sizeof(out->path) == CT_PATH_SIZE + 1 &&
			       sizeof(out->traceparent) == CT_TRACEPARENT_SIZE + 1 &&
			       sizeof(out->request_id) == CT_REQUEST_ID_SIZE + 1,
		"room for the kernel side's text");
	copy_text(out->method, in->method, sizeof(in->method) - 1);
	copy_text(out->path, in->path, sizeof(in->path));
	copy_text(out->traceparent, in->traceparent, sizeof(in->traceparent));
	copy_text(out->request_id, in->request_id, sizeof(in->request_id));
}

int request_decode(const void *record, size_t size, struct request *out)
{
	const struct ct_request *in = record;

	if (size < sizeof(*in) || in->header.size != sizeof(*in) ||
		(in->header.kind != CT_REQUEST && in->header.kind != CT_CONNECTION))
		return -EBADMSG;
	if (in->tgid == 0 || decode_protocol(in->protocol, &out->protocol) < 0)
		return -EBADMSG;
	out->pid = (pid_t)in->tgid;
	out->tid = (pid_t)in->tid;
	out->start_ticks = in->start_ns / NSEC_PER_TICK;
	out->cookie = in->cookie;
	out->inode = in->inode;
	out->number = in->number;
	out->age_ns = in->age_ns;
	out->bytes_in = in->bytes_in;
	out->unread = in->unread;
	out->goroutine = in->goroutine;
	out->answered = in->header.kind == CT_REQUEST;
	out->pipelined = in->flags & CT_REQUEST_PIPELINED;
	out->redacted = in->flags & CT_REQUEST_REDACTED;
	out->path_cut = in->flags & CT_REQUEST_PATH_CUT;
	out->status = in->status;
	out->local = make_endpoint(in->family, in->local_port, in->local);
	out->peer = make_endpoint(in->family, in->peer_port, in->peer);
	decode_texts(in, out);
	return 0;
}

static bool is_socket(const struct ct_socket *in, size_t size)
{
	return size >= sizeof(*in) && in->header.size == sizeof(*in) &&
	       in->header.kind == CT_SOCKET;
}

int unread_decode(const void *record, size_t size, struct unread *out)
{
	const struct ct_socket *in = record;

	if (!is_socket(in, size))
		return -EBADMSG;
	*out = (struct unread){
		.inode = in->inode,
		.position = in->position,
		.fd = (int)in->fd,
		.waiting = in->waiting,
		.room = in->room,
		.listens = in->flags & CT_SOCKET_LISTENS,
		.local = make_endpoint(in->family, in->local_port, in->local),
		.peer = make_endpoint(in->family, in->peer_port, in->peer),
	};
	return 0;
}

int outbound_decode(const void *record, size_t size, struct outbound *out)
{
	const struct ct_socket *in = record;

	if (!is_socket(in, size))
		return -EBADMSG;
	*out = (struct outbound){
		.peer = make_endpoint(in->family, in->peer_port, in->peer), .age_ns = in->age_ns};
	return 0;
}
