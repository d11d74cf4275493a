/* SPDX-License-Identifier: MIT */
#include "sink/relay.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"

#define QUEUE_BYTES   (4 << 20)
#define LINE_MAX      (2 << 20)
#define DRAIN_TIME_MS 2000

struct relay {
	pid_t pid;
	int fd;
	bool gone;
	uint64_t lost;
};

/* The descriptor is shared with others, who may have made it one that does not wait. */
static int write_line(const char *line, size_t size)
{
	struct pollfd room = {.fd = STDOUT_FILENO, .events = POLLOUT};

	while (size > 0) {
		ssize_t n = write(STDOUT_FILENO, line, size);

		if (n < 0 && errno == EAGAIN)
			poll(&room, 1, -1);
		else if (n < 0 && errno != EINTR)
			return -errno;
		line += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Outlives a Ctrl-C at the terminal, so that the last lines come out. */
static void hand_on(int in, int out)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
	char *line = malloc(LINE_MAX);
	ssize_t n;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	if (!line || dup2(out, STDOUT_FILENO) < 0 || dup2(in, STDIN_FILENO) < 0)
		_exit(1);
	syscall(SYS_close_range, STDERR_FILENO, ~0U, 0);
	while ((n = recv(STDIN_FILENO, line, LINE_MAX, 0)) > 0)
		if (write_line(line, (size_t)n) < 0)
			_exit(1);
	_exit(0);
}

int relay_open(int fd, struct relay **out)
{
	struct relay *r = malloc(sizeof(*r));
	int ends[2], bytes = QUEUE_BYTES;

	if (!r)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		int error = -errno;

		free(r);
		return error;
	}
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	*r = (struct relay){.pid = fork(), .fd = ends[0]};
	if (r->pid == 0) {
		close(ends[0]);
		hand_on(ends[1], fd);
	}
	close(ends[1]);
	*out = r;
	if (r->pid < 0) {
		int error = -errno;

		close(ends[0]);
		free(r);
		*out = NULL;
		return error;
	}
	return 0;
}

void relay_close(struct relay *r)
{
	_cleanup_close_ int pidfd = -1;
	struct pollfd end = {.events = POLLIN};

	if (!r)
		return;
	cleanup_close(&r->fd);
	pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	end.fd = pidfd;
	if (pidfd >= 0)
		poll(&end, 1, DRAIN_TIME_MS);
	child_end(r->pid, "relay");
	free(r);
}

int relay_send(struct relay *r, const char *line, size_t size)
{
	if (r->gone)
		return 0;
	if (size <= LINE_MAX && send(r->fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (size > LINE_MAX || errno == EAGAIN || errno == ENOBUFS || errno == EMSGSIZE) {
		r->lost++;
		return 0;
	}
	r->gone = errno == EPIPE || errno == ECONNRESET;
	return r->gone ? -EPIPE : -errno;
}

uint64_t relay_lost(const struct relay *r)
{
	return r->lost;
}

void relay_told(struct relay *r)
{
	r->lost = 0;
}
