/* SPDX-License-Identifier: MIT */
/* uring: an HTTP server on one io_uring; the first line it prints is its port. /sleep/MS answers
 * after MS milliseconds, during which it does nothing else. Exit status 3: the kernel refuses an
 * io_uring. */
#include <arpa/inet.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES	     256
#define REQUEST_SIZE 16384

enum step {
	ACCEPTED,
	RECEIVED,
	SENT
};

struct connection {
	enum step step;
	int fd;
	size_t held;
	char bytes[REQUEST_SIZE];
};

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static struct io_uring_sqe *next_entry(struct io_uring *ring, struct connection *c, enum step step)
{
	struct io_uring_sqe *entry = io_uring_get_sqe(ring);

	if (!entry)
		abort();
	c->step = step;
	io_uring_sqe_set_data(entry, c);
	return entry;
}

static void receive(struct io_uring *ring, struct connection *c)
{
	io_uring_prep_recv(next_entry(ring, c, RECEIVED), c->fd, c->bytes + c->held,
		sizeof(c->bytes) - 1 - c->held, 0);
}

static void accept_next(struct io_uring *ring, struct connection *c, int listener)
{
	io_uring_prep_accept(next_entry(ring, c, ACCEPTED), listener, NULL, NULL, 0);
}

__attribute__((noinline)) static void handle_slow(long ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&time, NULL);
	__asm__ volatile("" ::: "memory"); /* no tail call: its frame is looked for */
}

/* Answers the first request once it is complete; what came behind it stays for the next turn. */
static void handle(struct io_uring *ring, struct connection *c)
{
	char *end = strstr(c->bytes, "\r\n\r\n");
	long ms;

	if (!end) {
		receive(ring, c);
		return;
	}
	if (sscanf(c->bytes, "GET /sleep/%ld", &ms) == 1)
		handle_slow(ms);
	c->held -= (size_t)(end + 4 - c->bytes);
	memmove(c->bytes, end + 4, c->held);
	c->bytes[c->held] = '\0';
	io_uring_prep_send(
		next_entry(ring, c, SENT), c->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
}

static void go_on(struct io_uring *ring, struct connection *c, int result, int listener)
{
	if (result < 0 || (c->step == RECEIVED && result == 0)) {
		close(c->fd);
		free(c);
		return;
	}
	switch (c->step) {
	case ACCEPTED:
		accept_next(ring, calloc(1, sizeof(*c)), listener);
		c->fd = result;
		receive(ring, c);
		return;
	case RECEIVED:
		c->held += (size_t)result;
		c->bytes[c->held] = '\0';
		handle(ring, c);
		return;
	case SENT:
		handle(ring, c);
		return;
	}
}

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct io_uring ring;
	struct io_uring_cqe *done;

	if (io_uring_queue_init(ENTRIES, &ring, 0) < 0)
		return 3;
	if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 128) < 0 ||
		getsockname(listener, (struct sockaddr *)&address, &size) < 0)
		return 1;
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	accept_next(&ring, calloc(1, sizeof(struct connection)), listener);
	for (;;) {
		io_uring_submit_and_wait(&ring, 1);
		while (io_uring_peek_cqe(&ring, &done) == 0) {
			struct connection *c = io_uring_cqe_get_data(done);
			int result = done->res;

			io_uring_cqe_seen(&ring, done);
			go_on(&ring, c, result, listener);
		}
	}
}
