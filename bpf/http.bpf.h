/* SPDX-License-Identifier: GPL-2.0-only */
/* The head of an HTTP/1 request. It is kept as it was read and looked at only once the request is
 * slow; what leaves this side is its method, its path without query and parameters, and two fields
 * that name the request. */
#ifndef CORETRAP_HTTP_BPF_H
#define CORETRAP_HTTP_BPF_H

#include "common.bpf.h"

/* With its owner and the kernel's own element it fills an allocation of 2 KiB. */
#define HEAD_SIZE 1920

#define NAME_SIZE 24 /* longer than any name that is looked for */

enum http_state {
	HTTP_METHOD,
	HTTP_PATH,
	HTTP_REST_OF_LINE,
	HTTP_NAME,
	HTTP_VALUE,
	HTTP_END,
};

enum http_field {
	FIELD_OTHER,
	FIELD_TRACEPARENT,
	FIELD_REQUEST_ID,
	FIELD_CONTENT_LENGTH,
	FIELD_TRANSFER_ENCODING,
};

struct http {
	__u64 content_length;
	__u32 state;	 /* enum http_state */
	__u32 field;	 /* enum http_field: whose value is being read */
	__u32 at;	 /* bytes of the part that is being read */
	__u32 head_size; /* with the empty line at its end; 0: that has not come */
	__u32 flags;	 /* enum ct_request_flags */
	__u32 chunked;
	__u32 slashes; /* in the path */
	char method[CT_METHOD_SIZE];
	char path[CT_PATH_SIZE];
	char name[NAME_SIZE];
	char traceparent[CT_TRACEPARENT_SIZE];
	char request_id[CT_REQUEST_ID_SIZE];
};

/* Where a head is taken apart: a program's stack is too small. One for the iterator, one for the
 * tracepoints, which run with preemption off. */
enum workplace {
	WORKPLACE_SCAN,
	WORKPLACE_ANSWER,
	WORKPLACES,
};

struct work {
	struct ct_request out;
	struct http http;
	__u8 head[2048]; /* HEAD_SIZE are used; a power of two, so that an index is bounded by a
			    mask */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WORKPLACES);
	__type(key, __u32);
	__type(value, struct work);
} works SEC(".maps");

static __always_inline bool is_name(const char *name, const char *wanted, __u32 size)
{
	for (__u32 i = 0; i < size; i++)
		if (name[i] != wanted[i])
			return false;
	return true;
}

#define IS_NAME(name, wanted) is_name(name, wanted, sizeof(wanted))

static __always_inline enum http_field field_of(const char *name)
{
	if (IS_NAME(name, "traceparent"))
		return FIELD_TRACEPARENT;
	if (IS_NAME(name, "x-request-id"))
		return FIELD_REQUEST_ID;
	if (IS_NAME(name, "content-length"))
		return FIELD_CONTENT_LENGTH;
	if (IS_NAME(name, "transfer-encoding"))
		return FIELD_TRANSFER_ENCODING;
	return FIELD_OTHER;
}

/* SIZE is a power of two; the last byte stays NUL. */
static __always_inline void append(char *text, __u32 size, __u32 at, char c)
{
	if (at < size - 1)
		text[at & (size - 1)] = c;
}

static __always_inline void path_byte(struct http *h, char c)
{
	if (c == ' ' || c == '?' || c == ';' || c == '#') {
		if (c != ' ')
			h->flags |= CT_REQUEST_REDACTED;
		h->state = HTTP_REST_OF_LINE;
		return;
	}
	if (c == '/')
		h->slashes++;
	/* A proxy is asked for http://user:password@host/path. */
	if (c == '@' && h->path[0] != '/' && h->slashes < 3) {
		__builtin_memset(h->path, 0, sizeof(h->path));
		h->flags |= CT_REQUEST_REDACTED;
		h->at = 0;
		return;
	}
	append(h->path, sizeof(h->path), h->at, c);
	if (++h->at >= sizeof(h->path))
		h->flags |= CT_REQUEST_PATH_CUT;
}

static __always_inline void name_byte(struct http *h, char c)
{
	if (c == ':') {
		h->field = h->at < NAME_SIZE ? field_of(h->name) : FIELD_OTHER;
		h->state = HTTP_VALUE;
		h->at = 0;
		return;
	}
	if (c >= 'A' && c <= 'Z')
		c += 'a' - 'A';
	if (h->at < NAME_SIZE - 1)
		h->name[h->at] = c;
	h->at++;
}

static __always_inline void value_byte(struct http *h, char c)
{
	if (h->at == 0 && (c == ' ' || c == '\t'))
		return;
	switch (h->field) {
	case FIELD_TRACEPARENT:
		append(h->traceparent, sizeof(h->traceparent), h->at, c);
		break;
	case FIELD_REQUEST_ID:
		append(h->request_id, sizeof(h->request_id), h->at, c);
		break;
	case FIELD_CONTENT_LENGTH:
		if (c >= '0' && c <= '9' && h->at < 18)
			h->content_length = h->content_length * 10 + (c - '0');
		break;
	case FIELD_TRANSFER_ENCODING:
		h->chunked = 1;
		break;
	}
	h->at++;
}

static __always_inline void end_of_line(struct http *h, __u32 at)
{
	if (h->state == HTTP_NAME && h->at == 0) {
		h->state = HTTP_END;
		h->head_size = at + 1;
		return;
	}
	h->state = HTTP_NAME;
	h->at = 0;
	__builtin_memset(h->name, 0, sizeof(h->name));
}

/* Takes byte AT of the head; 1: that was its last. A function that the verifier looks at by itself,
 * since it would otherwise walk every path through every byte. */
__noinline int http_step(__u32 which, __u32 at)
{
	struct work *w = bpf_map_lookup_elem(&works, &which);
	struct http *h;
	char c;

	if (!w)
		return 1;
	h = &w->http;
	c = (char)w->head[at & (sizeof(w->head) - 1)];
	if (c == '\r')
		return 0;
	if (c == '\n') {
		end_of_line(h, at);
		return h->state == HTTP_END;
	}
	switch (h->state) {
	case HTTP_METHOD:
		if (c == ' ') {
			h->state = HTTP_PATH;
			h->at = 0;
			return 0;
		}
		append(h->method, sizeof(h->method), h->at++, c);
		return 0;
	case HTTP_PATH:
		path_byte(h, c);
		return 0;
	case HTTP_NAME:
		name_byte(h, c);
		return 0;
	case HTTP_VALUE:
		value_byte(h, c);
		return 0;
	}
	return 0;
}

static __always_inline void parse_head(struct work *w, __u32 which, __u32 size)
{
	__builtin_memset(&w->http, 0, sizeof(w->http));
	for (__u32 i = 0; i < HEAD_SIZE; i++)
		if (i >= size || http_step(which, i))
			break;
}

#define WORD(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

/* A method of SIZE bytes ends here, and asks for a path, a URL or the server itself. */
static __always_inline bool asks(const __u8 bytes[16], __u32 size)
{
	__u8 c = bytes[size + 1];

	return bytes[size] == ' ' && (c == '/' || c == 'h' || c == 'H' || c == '*');
}

/* CONNECT asks for a host. NATS has one as well, with passwords behind it. */
static __always_inline bool asks_for_host(const __u8 bytes[16])
{
	__u8 c = bytes[8], letter = c | 0x20;

	return bytes[7] == ' ' &&
	       ((letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '[');
}

/* Whether a request of HTTP begins with these bytes. Redis' own GET has no '/' behind it. */
static __always_inline bool is_method(const __u8 bytes[16])
{
	switch (*(__u32 *)bytes) {
	case WORD('G', 'E', 'T', ' '):
	case WORD('P', 'U', 'T', ' '):
		return asks(bytes, 3);
	case WORD('P', 'O', 'S', 'T'):
	case WORD('H', 'E', 'A', 'D'):
	case WORD('C', 'O', 'P', 'Y'): /* WebDAV, as those below */
	case WORD('M', 'O', 'V', 'E'):
	case WORD('L', 'O', 'C', 'K'):
		return asks(bytes, 4);
	case WORD('P', 'A', 'T', 'C'):
	case WORD('T', 'R', 'A', 'C'):
	case WORD('M', 'K', 'C', 'O'):
		return asks(bytes, 5);
	case WORD('D', 'E', 'L', 'E'):
	case WORD('U', 'N', 'L', 'O'):
	case WORD('R', 'E', 'P', 'O'):
		return asks(bytes, 6);
	case WORD('O', 'P', 'T', 'I'):
		return asks(bytes, 7);
	case WORD('P', 'R', 'O', 'P'): /* FIND or PATCH */
		return asks(bytes, 8) || asks(bytes, 9);
	case WORD('C', 'O', 'N', 'N'):
		return asks_for_host(bytes);
	}
	return false;
}

static __always_inline bool is_capital(__u8 c)
{
	return c >= 'A' && c <= 'Z';
}

/* What begins so is a request where HTTP is spoken, whatever its method (PURGE) means; elsewhere it
 * may as well be FTP's. */
static __always_inline bool is_any_method(const __u8 bytes[16])
{
	return is_capital(bytes[0]) && is_capital(bytes[1]) && is_capital(bytes[2]) &&
	       (asks(bytes, 3) || asks(bytes, 4) || asks(bytes, 5) || asks(bytes, 6) ||
		       asks(bytes, 7) || asks(bytes, 8) || asks(bytes, 9) || asks(bytes, 10));
}

static __always_inline bool is_http2(const __u8 bytes[16])
{
	return *(__u32 *)bytes == WORD('P', 'R', 'I', ' ') && bytes[4] == '*';
}

/* The status of an answer that begins with these bytes, or 0. */
static __always_inline __u32 status_of(const __u8 bytes[16])
{
	if (*(__u32 *)bytes != WORD('H', 'T', 'T', 'P') || bytes[4] != '/' || bytes[8] != ' ')
		return 0;
	for (__u32 i = 9; i < 12; i++)
		if (bytes[i] < '0' || bytes[i] > '9')
			return 0;
	return (bytes[9] - '0') * 100 + (bytes[10] - '0') * 10 + (bytes[11] - '0');
}

#endif
