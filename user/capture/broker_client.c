/* SPDX-License-Identifier: MIT */
#include "capture/broker_client.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "capture/broker_wire.h"
#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

void broker_client_free(struct broker_client *c)
{
	cleanup_close(&c->fd);
	cleanup_close(&c->output_fd);
	json_decref(c->json);
	c->json = NULL;
}

/* A socket whose queue is full says EAGAIN; only then there is anything to wait for. */
static int connect_until(const char *path, uint64_t deadline_ns)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (clock_now_ns(CLOCK_MONOTONIC) >= deadline_ns)
			return -ETIMEDOUT;
		usleep(10000);
	}
	return TAKE_FD(fd);
}

static void take_answer(struct broker_client *c)
{
	int r = wire_receive(c->fd, &c->json, &c->output_fd);

	if (r == -EAGAIN)
		return;
	if (r != 1) {
		cleanup_close(&c->fd);
		return;
	}
	c->answered = true;
	c->what = (struct capture_options){
		.kind = (enum core_kind)json_get_int(c->json, "kind", CORE_NONE),
		.compression =
			(enum core_compression)json_get_int(c->json, "compression", COMPRESS_ZSTD),
		.form = (enum output_form)json_get_int(c->json, "form", OUTPUT_STORE),
		.output = json_get_text(c->json, "output", NULL),
		.comment = json_get_text(c->json, "comment", NULL),
		.ignore_core_limit = json_is_true(json_object_get(c->json, "ignore_core_limit")),
		.host.keep_free = (uint64_t)json_get_int(c->json, "keep_free", 0),
		.host.keep_free_pct = (unsigned int)json_get_int(c->json, "keep_free_pct", 0),
		.host.write_speed = (uint64_t)json_get_int(c->json, "write_speed", 0),
		.host.crash_at_once = (unsigned int)json_get_int(c->json, "crash_at_once", 0),
	};
	c->event = json_object_get(c->json, "event");
	c->decision = (struct decision){
		.capture = json_is_true(json_object_get(c->json, "capture")),
		.rule = json_get_text(c->json, "rule", NULL),
		.skip_reason = json_get_text(c->json, "skip_reason", NULL),
		.what = &c->what,
	};
}

static size_t waiting(const struct broker_client *v, size_t n)
{
	size_t open = 0;

	for (size_t i = 0; i < n; i++)
		open += v[i].fd >= 0 && !v[i].answered;
	return open;
}

void broker_client_ask(const struct registry_owners *owners, const struct broker_question *question,
	uint64_t deadline_ns, struct broker_client *v)
{
	_cleanup_json_ json_t *json = wire_question(question);
	_cleanup_free_ struct pollfd *polls = calloc(owners->n + 1, sizeof(*polls));

	for (size_t i = 0; i < owners->n; i++) {
		v[i] = (struct broker_client){.fd = -1, .output_fd = -1};
		v[i].cgroup = owners->v[i].cgroup;
		if (!json || !polls)
			continue;
		v[i].fd = connect_until(owners->v[i].socket, deadline_ns);
		if (v[i].fd >= 0 && wire_send(v[i].fd, json, -1) < 0)
			cleanup_close(&v[i].fd);
	}
	while (waiting(v, owners->n) > 0) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

		if (now >= deadline_ns)
			break;
		for (size_t i = 0; i < owners->n; i++)
			polls[i] = (struct pollfd){
				.fd = v[i].answered ? -1 : v[i].fd, .events = POLLIN};
		if (poll(polls, owners->n, (int)((deadline_ns - now) / NSEC_PER_MSEC) + 1) <= 0)
			continue;
		for (size_t i = 0; i < owners->n; i++)
			if (polls[i].revents)
				take_answer(&v[i]);
	}
}

int broker_client_done(struct broker_client *c, const json_t *result)
{
	int r = c->fd >= 0 ? wire_send(c->fd, result, -1) : -ENOTCONN;

	cleanup_close(&c->fd);
	return r;
}

static json_t *inquire(const char *path, const json_t *inquiry, uint64_t deadline_ns)
{
	_cleanup_close_ int fd = connect_until(path, deadline_ns);
	struct pollfd answer = {.fd = fd, .events = POLLIN};
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	json_t *reply = NULL;

	/* One that was killed leaves its socket: nobody is behind it. */
	if (fd < 0 || wire_send(fd, inquiry, -1) < 0 || now >= deadline_ns ||
		poll(&answer, 1, (int)((deadline_ns - now) / NSEC_PER_MSEC) + 1) <= 0)
		return NULL;
	return wire_receive(fd, &reply, NULL) == 1 ? reply : NULL;
}

json_t *broker_client_why(pid_t pid, uint64_t deadline_ns)
{
	_cleanup_json_ json_t *inquiry = wire_inquiry(pid);
	_cleanup_json_ json_t *replies = json_array();
	_cleanup_closedir_ DIR *runtime = opendir(RUNTIME_DIRECTORY);
	const struct dirent *entry;
	char path[sizeof(RUNTIME_DIRECTORY) + NAME_MAX + 2];

	if (!inquiry || !replies)
		return NULL;
	while (runtime && (entry = readdir(runtime)) != NULL) {
		const char *end = strrchr(entry->d_name, '.');
		json_t *reply;

		if (!end || strcmp(end, ".sock") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", RUNTIME_DIRECTORY, entry->d_name);
		reply = inquire(path, inquiry, deadline_ns);
		if (reply && json_array_append_new(replies, reply) < 0)
			return NULL;
	}
	return TAKE_PTR(replies);
}
