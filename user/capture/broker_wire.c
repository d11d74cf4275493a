/* SPDX-License-Identifier: MIT */
#include "capture/broker_wire.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/cleanup.h"
#include "lib/json.h"

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int wire_send(int socket, const json_t *json, int fd)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT);
	union control control = {};
	struct iovec iov = {.iov_base = text};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (!text)
		return -ENOMEM;
	iov.iov_len = strlen(text);
	if (iov.iov_len > BROKER_MESSAGE_MAX)
		return -EMSGSIZE;
	if (fd >= 0) {
		struct cmsghdr *header = &control.align;

		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
	}
	while (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int passed_fd(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
			c->cmsg_len != CMSG_LEN(sizeof(int)))
			continue;
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		return fd;
	}
	return -1;
}

int wire_receive(int socket, json_t **json, int *fd)
{
	_cleanup_free_ char *text = malloc(BROKER_MESSAGE_MAX);
	struct iovec iov = {.iov_base = text, .iov_len = BROKER_MESSAGE_MAX};
	union control control = {};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	_cleanup_close_ int passed = -1;
	json_t *parsed;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	do
		n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	passed = passed_fd(&message);
	if (n == 0)
		return 0;
	if (message.msg_flags & MSG_TRUNC)
		return -EPROTO;
	parsed = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(parsed)) {
		json_decref(parsed);
		return -EPROTO;
	}
	*json = parsed;
	if (fd)
		*fd = TAKE_FD(passed);
	return 1;
}

json_t *wire_question(const struct broker_question *q)
{
	_cleanup_json_ json_t *json = json_object();
	int r = json_put_int(json, "pid", q->pid);

	if (r == 0)
		r = json_put_int(json, "tid", q->tid);
	if (r == 0)
		r = json_put_int(json, "signal", q->signal);
	if (r == 0)
		r = json_put_int(json, "dump_mode", q->dump_mode);
	if (r == 0)
		r = json_put_int(json, "core_limit", (int64_t)q->core_limit);
	if (r == 0)
		r = json_put_int(json, "start_ticks", (int64_t)q->start_ticks);
	if (r == 0)
		r = json_put_int(json, "time", q->time);
	if (r == 0)
		r = json_put_int(json, "uid", q->uid);
	if (r == 0)
		r = json_put_int(json, "gid", q->gid);
	if (r == 0)
		r = json_put_text(json, "comm", q->comm);
	return r == 0 ? TAKE_PTR(json) : NULL;
}

int wire_parse_question(const json_t *json, struct broker_question *out)
{
	struct broker_question q = {
		.pid = (pid_t)json_get_int(json, "pid", -1),
		.tid = (pid_t)json_get_int(json, "tid", -1),
		.signal = (int)json_get_int(json, "signal", -1),
		.dump_mode = (int)json_get_int(json, "dump_mode", 1),
		.core_limit = (uint64_t)json_get_int(json, "core_limit", 0),
		.start_ticks = (uint64_t)json_get_int(json, "start_ticks", 0),
		.time = json_get_int(json, "time", 0),
		.uid = (uid_t)json_get_int(json, "uid", 0),
		.gid = (gid_t)json_get_int(json, "gid", 0),
	};
	const char *comm = json_get_text(json, "comm", "");

	if (q.pid <= 0 || q.tid <= 0 || q.signal < 1 || q.signal > 64)
		return -EPROTO;
	strncpy(q.comm, comm, sizeof(q.comm) - 1);
	*out = q;
	return 0;
}

json_t *wire_inquiry(pid_t pid)
{
	_cleanup_json_ json_t *json = json_object();

	return json_put_int(json, "why", pid) == 0 ? TAKE_PTR(json) : NULL;
}

int wire_parse_inquiry(const json_t *json, pid_t *pid)
{
	int64_t n = json_get_int(json, "why", -1);

	if (n <= 0 || n > INT32_MAX)
		return -EPROTO;
	*pid = (pid_t)n;
	return 0;
}

static int put_text_or_none(json_t *json, const char *key, const char *text)
{
	return text ? json_put_text(json, key, text) : 0;
}

static int put_options(json_t *json, const struct capture_options *what)
{
	int r = json_put_int(json, "kind", what->kind);

	if (r == 0)
		r = json_put_int(json, "compression", what->compression);
	if (r == 0)
		r = json_put_int(json, "form", what->form);
	if (r == 0)
		r = json_put_bool(json, "ignore_core_limit", what->ignore_core_limit);
	if (r == 0)
		r = json_put_int(json, "keep_free", (int64_t)what->host.keep_free);
	if (r == 0)
		r = json_put_int(json, "keep_free_pct", what->host.keep_free_pct);
	if (r == 0)
		r = json_put_int(json, "write_speed", (int64_t)what->host.write_speed);
	if (r == 0)
		r = json_put_int(json, "crash_at_once", what->host.crash_at_once);
	if (r == 0)
		r = put_text_or_none(json, "output", what->output);
	return r == 0 ? put_text_or_none(json, "comment", what->comment) : r;
}

json_t *wire_answer(const struct decision *decision, const json_t *event)
{
	_cleanup_json_ json_t *json = json_object();
	int r = json_put_bool(json, "capture", decision->capture);

	if (r == 0)
		r = put_text_or_none(json, "rule", decision->rule);
	if (r == 0)
		r = put_text_or_none(json, "skip_reason", decision->skip_reason);
	if (r == 0 && decision->what)
		r = put_options(json, decision->what);
	/* A copy by reference: jansson only counts it. */
	if (r == 0 && event)
		r = json_object_set(json, "event", (json_t *)event) < 0 ? -ENOMEM : 0;
	return r == 0 ? TAKE_PTR(json) : NULL;
}
