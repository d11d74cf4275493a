/* SPDX-License-Identifier: MIT */
#include "target/wait_set.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define FDINFO_MAX (4 << 20) /* some 40,000 descriptors */
#define POLL_MAX   65536

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

static int make_room(struct wait_set *s, size_t most)
{
	*s = (struct wait_set){.members = calloc(most ? most : 1, sizeof(*s->members))};
	return s->members ? 0 : -ENOMEM;
}

static void sort(struct wait_set *s)
{
	qsort(s->members, s->n, sizeof(*s->members), compare);
}

void wait_set_free(struct wait_set *s)
{
	free(s->members);
	*s = (struct wait_set){};
}

bool wait_set_has(const struct wait_set *s, int fd, uint64_t inode)
{
	uint64_t wanted = s->by_inode ? inode : (uint64_t)fd;

	return s->n && bsearch(&wanted, s->members, s->n, sizeof(wanted), compare);
}

static size_t count_lines(const char *text)
{
	size_t n = 1;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

int wait_set_parse_epoll(const char *text, struct wait_set *out)
{
	int r = make_room(out, count_lines(text));

	if (r < 0)
		return r;
	out->by_inode = true;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		uint64_t inode;

		line += *line == '\n';
		if (sscanf(line, "tfd: %*d events: %*x data: %*x pos:%*d ino:%" SCNx64, &inode) ==
			1)
			out->members[out->n++] = inode;
	}
	sort(out);
	return 0;
}

static int read_epoll(int procfd, pid_t tid, uint64_t fd, struct wait_set *out)
{
	_cleanup_free_ char *text = NULL;
	char path[96];
	int r;

	snprintf(path, sizeof(path), "task/%d/fdinfo/%" PRIu64, tid, fd);
	r = io_read_file_at(procfd, path, FDINFO_MAX, &text, NULL);
	return r < 0 ? r : wait_set_parse_epoll(text, out);
}

static int read_poll(int procfd, pid_t tid, uint64_t address, uint64_t n, struct wait_set *out)
{
	_cleanup_free_ struct pollfd *fds = NULL;
	int r;

	if (n > POLL_MAX)
		return -E2BIG;
	fds = calloc(n ? n : 1, sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	r = n ? wait_read_memory(procfd, tid, address, fds, n * sizeof(*fds)) : 0;
	if (r < 0)
		return r;
	r = make_room(out, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (fds[i].fd >= 0)
			out->members[out->n++] = (uint64_t)fds[i].fd;
	sort(out);
	return r;
}

/* Those that it reads from: nobody takes on work by writing. */
static int read_select(int procfd, pid_t tid, const uint64_t arguments[3], struct wait_set *out)
{
	uint64_t n = arguments[0], words[FD_SETSIZE / 64] = {0};
	int r = 0;

	if (n > FD_SETSIZE)
		return -E2BIG;
	if (arguments[1])
		r = wait_read_memory(
			procfd, tid, arguments[1], words, (n + 63) / 64 * sizeof(*words));
	if (r < 0)
		return r;
	r = make_room(out, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (words[i / 64] >> i % 64 & 1)
			out->members[out->n++] = i;
	return r;
}

int wait_set_read(int procfd, pid_t tid, const struct thread_wait *w, struct wait_set *out)
{
	switch (wait_kind(w)) {
	case WAIT_EPOLL:
		return read_epoll(procfd, tid, w->arguments[0], out);
	case WAIT_POLL:
		return read_poll(procfd, tid, w->arguments[0], w->arguments[1], out);
	case WAIT_SELECT:
		return read_select(procfd, tid, w->arguments, out);
	default:
		return -EOPNOTSUPP;
	}
}
