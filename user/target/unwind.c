/* SPDX-License-Identifier: MIT */
/* The side of the unwinder that stays: starts the child, collects and checks its lines, ends it. */
#include "target/unwind.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "target/unwind_child.h"
#include "target/unwind_reply.h"

#define READ_SIZE (64u << 10)
#define FRAME_MAX (6u * (UNWIND_MODULE_MAX + UNWIND_SYMBOL_MAX) + 512u) /* JSON escapes: \u0001 */
#define TOTAL_MAX (256u << 20) /* of all lines together: some 20,000 threads of 64 frames */

struct unwind {
	pid_t pid;
	int pipefd, timerfd, epollfd;
	unsigned int max_frames;
	size_t line_max, total;
	char *buffer; /* what has come of the next line */
	size_t used, size;
	size_t scanned;	 /* no newline before here */
	json_t *threads; /* checked results */
	struct thread_registers *asked;
	size_t asked_count; /* lines come in this order */
};

static int watch(const struct unwind *u, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(u->epollfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int prepare(struct unwind *u, const struct unwind_request *req)
{
	/* Never 0: that would disarm the timer. */
	uint64_t ns = req->timeout_ns ? req->timeout_ns : 1;
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(ns / NSEC_PER_SEC),
					  .tv_nsec = (long)(ns % NSEC_PER_SEC)}};
	int r;

	u->max_frames = req->max_frames;
	u->line_max = (size_t)req->max_frames * FRAME_MAX + UNWIND_NOTES_MAX * FRAME_MAX;
	u->asked_count = req->thread_count;
	u->threads = json_array();
	u->asked = calloc(req->thread_count, sizeof(*u->asked));
	if (!u->threads || !u->asked)
		return -ENOMEM;
	memcpy(u->asked, req->threads, req->thread_count * sizeof(*u->asked));
	u->epollfd = epoll_create1(EPOLL_CLOEXEC);
	u->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (u->epollfd < 0 || u->timerfd < 0 || timerfd_settime(u->timerfd, 0, &when, NULL) < 0)
		return -errno;
	r = watch(u, u->pipefd);
	return r < 0 ? r : watch(u, u->timerfd);
}

static int start_child(struct unwind *u, const struct unwind_request *req)
{
	_cleanup_close_ int readfd = -1, writefd = -1;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	readfd = fds[0];
	writefd = fds[1];
	u->pid = fork();
	if (u->pid < 0)
		return -errno;
	if (u->pid == 0)
		unwind_child_run(req, writefd);
	if (fcntl(readfd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	u->pipefd = TAKE_FD(readfd);
	return 0;
}

static void cleanup_unwind(struct unwind **u)
{
	unwind_free(*u);
}

int unwind_start(const struct unwind_request *req, struct unwind **out)
{
	_cleanup_(cleanup_unwind) struct unwind *u = NULL;
	int r;

	if (!req->thread_count || !req->max_frames || !req->maps || !req->threads)
		return -EINVAL;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->pid = u->pipefd = u->timerfd = u->epollfd = -1;
	r = start_child(u, req);
	if (r == 0)
		r = prepare(u, req);
	if (r < 0)
		return r;
	*out = TAKE_PTR(u);
	return 0;
}

int unwind_fd(const struct unwind *u)
{
	return u->epollfd;
}

/* The answers come in the order of the questions; anything else is not our child's doing. */
static int take_line(struct unwind *u, const char *line, size_t len)
{
	size_t at = json_array_size(u->threads);
	json_t *thread = NULL;
	int r = unwind_reply_parse(line, len, u->max_frames, &thread);

	if (r < 0)
		return r;
	if (at >= u->asked_count || json_get_int(thread, "tid", -1) != u->asked[at].tid) {
		json_decref(thread);
		return -EPROTO;
	}
	return json_array_append_new(u->threads, thread) < 0 ? -ENOMEM : 0;
}

static int take_lines(struct unwind *u)
{
	size_t start = 0;
	char *end;

	while ((end = memchr(u->buffer + u->scanned, '\n', u->used - u->scanned))) {
		size_t len = (size_t)(end - u->buffer) - start;
		int r = take_line(u, u->buffer + start, len);

		if (r < 0)
			return r;
		start += len + 1;
		u->scanned = start;
	}
	memmove(u->buffer, u->buffer + start, u->used - start);
	u->used -= start;
	u->scanned = u->used;
	return u->used > u->line_max ? -EPROTO : 0;
}

static int make_room(struct unwind *u)
{
	size_t size = u->size ? u->size * 2 : READ_SIZE;
	char *bigger;

	if (u->size - u->used >= READ_SIZE / 2)
		return 0;
	bigger = realloc(u->buffer, size);
	if (!bigger)
		return -ENOMEM;
	u->buffer = bigger;
	u->size = size;
	return 0;
}

/* 1 at the end of the pipe, 0 when it is empty for now, -errno. */
static int drain(struct unwind *u)
{
	for (;;) {
		ssize_t n;
		int r = make_room(u);

		if (r < 0)
			return r;
		n = read(u->pipefd, u->buffer + u->used, u->size - u->used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return 1;
		u->used += (size_t)n;
		u->total += (size_t)n;
		r = u->total > TOTAL_MAX ? -EPROTO : take_lines(u);
		if (r < 0)
			return r;
	}
}

static bool timed_out(const struct unwind *u)
{
	uint64_t expirations;

	return read(u->timerfd, &expirations, sizeof(expirations)) == sizeof(expirations);
}

/* A thread whose answer did not come has at least its registers. */
static int add_missing(struct unwind *u, const char *why)
{
	for (size_t i = json_array_size(u->threads); i < u->asked_count; i++) {
		_cleanup_json_ json_t *thread = json_object(), *frame = json_object();
		int r = thread && frame ? json_put_int(thread, "tid", u->asked[i].tid) : -ENOMEM;

		if (r == 0)
			r = json_put_hex(frame, "address", registers_ip(&u->asked[i]));
		if (r == 0)
			r = json_put(thread, "stack", json_pack("[O]", frame));
		if (r == 0)
			r = json_put_bool(thread, "truncated", true);
		if (r == 0)
			r = json_put(thread, "notes", json_pack("[s]", why));
		if (r < 0 || json_array_append_new(u->threads, TAKE_PTR(thread)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void end_child(struct unwind *u)
{
	if (u->pid > 0)
		child_end(u->pid, "unwinder");
	u->pid = -1;
}

int unwind_read(struct unwind *u, json_t **out)
{
	int r = drain(u), failure = 0;
	const char *why = NULL;

	if (r == 0 && timed_out(u)) {
		failure = -ETIMEDOUT;
		why = "not unwound: out of time";
	} else if (r == 0) {
		return 0;
	} else if (r < 0) {
		failure = r;
		why = "not unwound: the unwinder's answer was not valid";
	} else if (json_array_size(u->threads) < u->asked_count) {
		failure = -EIO;
		why = "not unwound: the unwinder failed";
	}
	end_child(u);
	if (failure && json_array_size(u->threads) == 0)
		return failure;
	if (failure && add_missing(u, why) < 0)
		return -ENOMEM;
	*out = TAKE_PTR(u->threads);
	return 1;
}

void unwind_free(struct unwind *u)
{
	if (!u)
		return;
	end_child(u);
	cleanup_close(&u->pipefd);
	cleanup_close(&u->timerfd);
	cleanup_close(&u->epollfd);
	json_decref(u->threads);
	free(u->asked);
	free(u->buffer);
	free(u);
}

int unwind_run(const struct unwind_request *req, json_t **out)
{
	_cleanup_(cleanup_unwind) struct unwind *u = NULL;
	int r = unwind_start(req, &u);

	while (r == 0) {
		struct pollfd p = {.fd = unwind_fd(u), .events = POLLIN};

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
		r = unwind_read(u, out);
	}
	return r < 0 ? r : 0;
}
