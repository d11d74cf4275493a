/* SPDX-License-Identifier: MIT */
/* The smallest HTTP server that a request can be slow in: of this host alone, one thread a
 * connection. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "cli/lab.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

#define IDLE_S 60 /* a connection without a request */

struct connection {
	int fd;
	uint64_t time_ns;
};

int lab_listen(uint64_t *port)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)*port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return -errno;
	*port = ntohs(address.sin_port);
	return TAKE_FD(fd);
}

__attribute__((noinline, noclone)) static void handle_slow(uint64_t time_ns)
{
	struct timespec t = {.tv_sec = (time_t)(time_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(time_ns % NSEC_PER_SEC)};

	nanosleep(&t, NULL);
}

/* A request's head, without its body: 0 when there is none any more. */
static size_t read_head(int fd, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	while (!strstr(text, "\r\n\r\n")) {
		ssize_t n = recv(fd, text + used, size - 1 - used, 0);

		if (n <= 0)
			return 0;
		used += (size_t)n;
		text[used] = '\0';
	}
	return used;
}

static void *serve_connection(void *arg)
{
	_cleanup_free_ struct connection *c = arg;
	_cleanup_close_ int fd = c->fd;
	struct timeval idle = {.tv_sec = IDLE_S};
	char head[8192], answer[160], path[64];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));
	while (read_head(fd, head, sizeof(head))) {
		int slow = sscanf(head, "%*7s %63[^ ?]", path) == 1 && strcmp(path, "/slow") == 0;
		int n;

		if (slow)
			handle_slow(c->time_ns);
		n = snprintf(answer, sizeof(answer),
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
			"5\r\n\r\n%s",
			slow ? "slow\n" : "fast\n");
		if (io_write_all(fd, answer, (size_t)n) < 0)
			break;
	}
	return NULL;
}

static int start_connection(int fd, uint64_t time_ns)
{
	_cleanup_close_ int own = fd;
	struct connection *c = malloc(sizeof(*c));
	pthread_attr_t detached;
	pthread_t thread;
	int error;

	if (!c)
		return -ENOMEM;
	*c = (struct connection){.fd = fd, .time_ns = time_ns};
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &detached, serve_connection, c);
	pthread_attr_destroy(&detached);
	if (error)
		free(c);
	else
		TAKE_FD(own);
	return -error;
}

int lab_serve(int fd, uint64_t time_ns)
{
	for (;;) {
		int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (connection >= 0)
			start_connection(connection, time_ns);
		else if (errno != EINTR && errno != ECONNABORTED && errno != EMFILE)
			return -errno;
	}
}
