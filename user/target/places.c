/* SPDX-License-Identifier: MIT */
#include "target/places.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/text.h"
#include "target/places_child.h"

/* Field by field: there is padding between them. */
bool place_is_equal(const struct place *a, const struct place *b)
{
	const struct sdt_argument *x = &a->argument, *y = &b->argument;

	return a->offset == b->offset && a->semaphore == b->semaphore && a->kind == b->kind &&
	       a->condition == b->condition && x->kind == y->kind && x->size == y->size &&
	       x->is_signed == y->is_signed && x->reg == y->reg && x->value == y->value;
}

static int refuse(struct places *p, int error, const char *why)
{
	snprintf(p->why, sizeof(p->why), "%s", why);
	p->error = error;
	return error;
}

/* The child has read a hostile file, so it may be somebody else's by now. */
static int check(struct places *p, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return refuse(p, -errno, "its file cannot be read");
	p->why[sizeof(p->why) - 1] = '\0';
	if (p->error > 0 || p->error < -4095 || p->n > PLACES_MAX || (p->error == 0 && p->n < 2))
		return refuse(p, -EPROTO, "its file cannot be read");
	if (p->error < 0) {
		_cleanup_free_ char *why =
			text_printable(p->why, strlen(p->why), sizeof(p->why) - 4);

		return refuse(p, p->error, why ? why : "");
	}
	for (uint32_t i = 0; i < p->n; i++) {
		const struct place *v = &p->v[i];

		if (v->offset >= (uint64_t)st.st_size || v->semaphore >= (uint64_t)st.st_size ||
			v->kind >= PLACE_KINDS || v->condition > 0xf ||
			v->argument.kind > SDT_MEMORY || v->argument.size > 8 ||
			v->argument.reg >= SDT_WORDS)
			return refuse(p, -EPROTO, "its file cannot be read");
	}
	return 0;
}

static int receive(int fd, unsigned int timeout_ms, struct places *out)
{
	uint64_t deadline = clock_now_ns(CLOCK_MONOTONIC) + timeout_ms * NSEC_PER_MSEC;
	size_t held = 0;

	while (held < sizeof(*out)) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;
		int ready = now < deadline
				    ? poll(&p, 1, (int)((deadline - now) / NSEC_PER_MSEC) + 1)
				    : 0;

		if (ready == 0)
			return -ETIMEDOUT;
		n = ready < 0 ? -1 : read(fd, (char *)out + held, sizeof(*out) - held);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		held += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int places_find(const struct places_wish *wish, struct places *out)
{
	_cleanup_close_ int readfd = -1, writefd = -1;
	int fds[2], r;
	pid_t pid;

	*out = (struct places){};
	if (pipe2(fds, O_CLOEXEC) < 0)
		return refuse(out, -errno, strerror(errno));
	readfd = fds[0];
	writefd = fds[1];
	pid = fork();
	if (pid < 0)
		return refuse(out, -errno, strerror(errno));
	if (pid == 0)
		places_child_run(wish, writefd);
	cleanup_close(&writefd);
	r = receive(readfd, wish->timeout_ms, out);
	child_end(pid, "places");
	if (r < 0)
		return refuse(out, r,
			r == -ETIMEDOUT ? "its file takes too long to read"
					: "its file cannot be read");
	return check(out, wish->fd);
}
