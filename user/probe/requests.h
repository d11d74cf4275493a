/* SPDX-License-Identifier: MIT */
/* Requests in flight at the watched processes, seen at their sockets: what was read and not
 * answered. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "probe/probe.h"

enum request_protocol {
	REQUEST_GENERIC, /* bytes in, none out: no method, no path */
	REQUEST_HTTP,	 /* 1.x */
	REQUEST_TLS,	 /* as REQUEST_GENERIC */
	REQUEST_PROTOCOLS,
};

/* "http", "tls", "generic": static text. */
const char *request_protocol_name(enum request_protocol protocol);

struct endpoint {
	sa_family_t family; /* AF_INET, AF_INET6, AF_UNIX */
	uint16_t port;	    /* 0 of AF_UNIX */
	uint8_t address[16];
};

/* "10.0.0.1:80", "[::1]:80", "unix" into BUF (at least ENDPOINT_TEXT bytes), which is returned. */
const char *endpoint_format(const struct endpoint *e, char *buf, size_t size);
#define ENDPOINT_TEXT (INET6_ADDRSTRLEN + 8)

/* Text was chosen by the client: hostile. Times are CLOCK_BOOTTIME. */
struct request {
	pid_t pid; /* of the process that read last */
	uint64_t start_ticks;
	pid_t tid; /* the thread that read last: request_thread() tells whether it still has it */
	uint64_t cookie; /* the socket's: with NUMBER, the request's key */
	uint64_t number;
	uint64_t inode;	    /* as the links of /proc/PID/fd have it, 0: not known */
	uint64_t age_ns;    /* how long it has waited (answered: did wait) since its last byte was
			       read: at least, the kernel's clock moves by ticks */
	uint64_t bytes_in;  /* that were read */
	uint64_t goroutine; /* 0: not known */
	uint32_t unread;    /* bytes that lie in the socket */
	bool answered;
	bool pipelined; /* came behind another: method, path and ids are not known */
	bool redacted;	/* a query or parameters were taken out of the path */
	bool path_cut;
	unsigned int status; /* HTTP's answer; 0: none, or not known */
	enum request_protocol protocol;
	struct endpoint local, peer;
	char method[16]; /* these four: "" if not known */
	char path[257];
	char traceparent[65];
	char request_id[65];
};

struct requests;

struct requests_options {
	const struct probe *probe; /* whose marks say who is watched; borrowed; NULL: nobody */
	bool watch_unmarked;	   /* also processes nobody has judged yet */
	uint64_t slow_ns;	   /* shorter ones are not told of: the least of all rules' */
	unsigned int status_min, status_max; /* answers with these are, however fast; 0, 0: none */
	bool every_answer;		     /* all answers are: a record each */
	bool count_answers;		     /* requests_answered() will be asked */
};

/* 0 or -errno, as probe_open(); -EOPNOTSUPP: this kernel has no hooks for it (`doctor` says which).
 */
int requests_open(const struct requests_options *options, struct requests **out);
void requests_close(struct requests *r); /* NULL-safe */

/* How requests are seen: static text. */
const char *requests_way(const struct requests *r);

/* Whether what is sent is being looked at, or only noticed afterwards: a hook there costs every
 * process on the host, so there is one only while a request may become slow (a quarter of SLOW_NS),
 * requests are pipelined, or the options ask for answers; and for a second in each minute. */
bool requests_sees_sends(const struct requests *r);

/* From now on requests of this process are told with the number of the goroutine that reads them;
 * OFFSET is as go_read_goid_offset() has it. 0 or -errno. */
int requests_add_go(struct requests *r, pid_t pid, uint32_t offset);

/* Those that have waited for SLOW_NS. One pass over all connections of watched processes; *OUT is
 * good until the next pass. 0 or -errno. */
int requests_scan(struct requests *r, const struct request **out, size_t *n);
/* How long to wait between two passes, so that one that is due is seen in time. */
uint64_t requests_interval_ns(uint64_t slow_ns);

/* Readable when there are answers. */
int requests_fd(const struct requests *r);
/* The next answer that was slow, or has one of the statuses: 1 and *OUT, 0: none now, -errno. A
 * request that a pass has told of comes here again when it is answered. */
int requests_next(struct requests *r, struct request *out);
/* Answers of a process since it was first seen. */
int requests_answered(struct requests *r, pid_t pid, uint64_t *n);

/* Work that lies in a socket of a server: bytes that nobody has read, or connections that nobody
 * has accepted. */
struct unread {
	uint64_t inode;	   /* as the links of /proc/PID/fd have it: the key */
	uint64_t position; /* changes when some of it is taken */
	int fd;
	uint32_t waiting; /* bytes, or (listens) connections */
	uint32_t room;	  /* connections that the backlog holds */
	bool listens;
	struct endpoint local, peer;
};

/* What lies in the TCP sockets of one process now: a pass over its descriptors. *OUT is the
 * caller's to free(). 0 or -errno. */
int requests_unread(struct requests *r, pid_t pid, struct unread **out, size_t *n);

/* The same for all sockets by which requests come to the process: its listeners, and the
 * connections that it accepted. */
int requests_serving(struct requests *r, pid_t pid, struct unread **out, size_t *n);

/* A peer that the process waits for: it has sent something there and nothing came back. */
struct outbound {
	struct endpoint peer;
	uint64_t age_ns; /* since it sent: at least, the kernel's clock moves by ticks */
};

/* Those that it has waited for so long, the oldest first. Of Unix sockets those on which something
 * came back before, once their peer has read. *OUT is the caller's to free(). 0 or -errno. */
int requests_outbound(
	struct requests *r, pid_t pid, uint64_t age_ns, struct outbound **out, size_t *n);

/* As probe_losses(). */
int requests_losses(struct requests *r, struct probe_loss out[PROBE_LOSSES_MAX]);
