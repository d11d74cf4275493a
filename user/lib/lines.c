/* SPDX-License-Identifier: MIT */
#include "lib/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define FIRST_ROOM 4096

int lines_open(struct lines *l, int *write_fd)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	/* Of this end alone: whoever writes may wait. */
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
		int r = -errno;

		close(ends[0]);
		close(ends[1]);
		return r;
	}
	*l = (struct lines){.fd = ends[0]};
	*write_fd = ends[1];
	return 0;
}

static int make_room(struct lines *l)
{
	size_t want = l->room ? l->room * 2 : FIRST_ROOM;
	char *bytes;

	if (l->used < l->room)
		return 0;
	if (want > LINES_MAX)
		return -EMSGSIZE;
	bytes = realloc(l->bytes, want);
	if (!bytes)
		return -ENOMEM;
	l->bytes = bytes;
	l->room = want;
	return 0;
}

int lines_next(struct lines *l, char **line)
{
	size_t looked = 0;

	l->used -= l->taken;
	if (l->taken)
		memmove(l->bytes, l->bytes + l->taken, l->used);
	l->taken = 0;
	for (;;) {
		char *end =
			l->used > looked ? memchr(l->bytes + looked, '\n', l->used - looked) : NULL;
		ssize_t n;
		int r;

		if (end) {
			*end = '\0';
			l->taken = (size_t)(end - l->bytes) + 1;
			*line = l->bytes;
			return 1;
		}
		looked = l->used;
		r = make_room(l);
		if (r < 0)
			return r;
		n = read(l->fd, l->bytes + l->used, l->room - l->used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return -ENODATA;
		l->used += (size_t)n;
	}
}

void lines_close(struct lines *l)
{
	cleanup_close(&l->fd);
	free(l->bytes);
	*l = LINES_NONE;
}
