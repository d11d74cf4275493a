/* SPDX-License-Identifier: MIT */
#include "core/window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define WINDOW_SIZE (8UL << 20)
/* Past the page cache, a write saves a copy and the work to drop it again, but waits for the disk:
 * not for a few pages. */
#define DIRECT_MIN  (128UL << 10)
#define DIRECT_UNIT 4096

/* A description of its own: the flags of FD are also somebody else's where it was inherited. Not
 * every file system has it. */
static int open_direct(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
}

int window_open(int fd, struct window *out)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	*out = (struct window){.fd = fd, .directfd = -1};
	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* With O_APPEND, pwrite() ignores its offset: such a file is written like a pipe. */
	out->seekable = S_ISREG(st.st_mode) && !(flags & O_APPEND);
	if (out->seekable)
		out->directfd = open_direct(fd);
	return 0;
}

void window_close(struct window *w)
{
	cleanup_close(&w->directfd);
}

/* Starts writing what is new, then waits for the window before it and drops that: the disk always
 * has work, and at most two windows of the file are in the page cache. Errors show in fsync, which
 * is the caller's. */
static void turn(struct window *w)
{
	sync_file_range(w->fd, (off_t)w->sent, (off_t)(w->at - w->sent), SYNC_FILE_RANGE_WRITE);
	if (w->sent > w->dropped) {
		sync_file_range(w->fd, (off_t)w->dropped, (off_t)(w->sent - w->dropped),
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER);
		posix_fadvise(w->fd, (off_t)w->dropped, (off_t)(w->sent - w->dropped),
			POSIX_FADV_DONTNEED);
	}
	w->dropped = w->sent;
	w->sent = w->at;
}

static bool is_direct(const struct window *w, const char *data, size_t len)
{
	return w->directfd >= 0 && len >= DIRECT_MIN &&
	       ((uintptr_t)data | len | w->at) % DIRECT_UNIT == 0;
}

static int write_at(struct window *w, const char *data, size_t len)
{
	while (len) {
		bool direct = is_direct(w, data, len);
		ssize_t n = pwrite(direct ? w->directfd : w->fd, data, len, (off_t)w->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && direct && errno == EINVAL) {
			cleanup_close(&w->directfd); /* larger blocks than ours */
			continue;
		}
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
		w->at += (uint64_t)n;
	}
	return 0;
}

int window_write(struct window *w, const void *data, size_t len)
{
	const char *p = data;
	int r;

	if (!w->seekable) {
		w->at += len;
		return io_write_all(w->fd, data, len);
	}
	while (len) {
		uint64_t left = w->at - w->sent < WINDOW_SIZE ? WINDOW_SIZE - (w->at - w->sent) : 1;
		size_t part = len < left ? len : (size_t)left;

		r = write_at(w, p, part);
		if (r < 0)
			return r;
		p += part;
		len -= part;
		if (w->at - w->sent >= WINDOW_SIZE)
			turn(w);
	}
	return 0;
}

int window_hole(struct window *w, uint64_t len)
{
	static const char zeros[65536];

	if (w->seekable) {
		if (w->at + len < w->at || w->at + len > INT64_MAX)
			return -EFBIG;
		w->at += len;
		return 0;
	}
	while (len) {
		size_t part = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);
		int r = io_write_all(w->fd, zeros, part);

		if (r < 0)
			return r;
		w->at += part;
		len -= part;
	}
	return 0;
}

int window_finish(struct window *w)
{
	if (!w->seekable)
		return 0;
	/* A hole at the end has no write that would make the file long enough. */
	if (ftruncate(w->fd, (off_t)w->at) < 0)
		return -errno;
	turn(w);
	turn(w);
	return 0;
}
