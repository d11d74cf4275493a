/* SPDX-License-Identifier: MIT */
#include "core/window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

/* What goes through the page cache is sent to the disk and dropped in windows of so many bytes. */
#define WINDOW_SIZE (8UL << 20)
/* Past the page cache, a write saves a copy and the work to drop it again, but waits for the disk:
 * not for a few pages. */
#define DIRECT_MIN (128UL << 10)
#define PAGE	   4096

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

	*out = (struct window){.fd = fd, .directfd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* With O_APPEND, pwrite() ignores its offset: such a file is written like a pipe. */
	out->seekable = S_ISREG(st.st_mode) && !(flags & O_APPEND);
	if (out->seekable)
		out->directfd = open_direct(fd);
	return 0;
}

void window_pace(struct window *w, uint64_t speed)
{
	w->speed = speed;
	w->began_ns = clock_now_ns(CLOCK_MONOTONIC);
}

/* Bytes that were just written take their time, whichever thread wrote them. */
static void keep_pace(struct window *w, size_t len)
{
	uint64_t sum, due;
	struct timespec until;

	if (!w->speed)
		return;
	sum = __atomic_add_fetch(&w->paced, len, __ATOMIC_RELAXED);
	due = w->began_ns + (uint64_t)((double)sum / (double)w->speed * (double)NSEC_PER_SEC);
	until = (struct timespec){(time_t)(due / NSEC_PER_SEC), (long)(due % NSEC_PER_SEC)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
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
	const struct stretch *d = &w->dirty, *s = &w->sent;

	if (d->bytes)
		sync_file_range(
			w->fd, (off_t)d->start, (off_t)(d->end - d->start), SYNC_FILE_RANGE_WRITE);
	if (s->bytes) {
		sync_file_range(w->fd, (off_t)s->start, (off_t)(s->end - s->start),
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER);
		posix_fadvise(
			w->fd, (off_t)s->start, (off_t)(s->end - s->start), POSIX_FADV_DONTNEED);
	}
	w->sent = w->dirty;
	w->dirty = (struct stretch){0};
}

/* Pages are written and dropped whole, or not at all. */
static void note_dirty(struct window *w, uint64_t offset, size_t len)
{
	const uint64_t start = offset - offset % PAGE;
	const uint64_t end = offset + len + (PAGE - (offset + len) % PAGE) % PAGE;
	struct stretch *d = &w->dirty;

	pthread_mutex_lock(&w->lock);
	if (!d->bytes || start < d->start)
		d->start = start;
	if (end > d->end)
		d->end = end;
	d->bytes += len;
	if (d->bytes >= WINDOW_SIZE)
		turn(w);
	pthread_mutex_unlock(&w->lock);
}

static bool is_direct(struct window *w, uint64_t offset, const char *data, size_t len)
{
	return w->directfd >= 0 && len >= DIRECT_MIN &&
	       ((uintptr_t)data | len | offset) % PAGE == 0 &&
	       !__atomic_load_n(&w->no_direct, __ATOMIC_RELAXED);
}

static int write_at(struct window *w, uint64_t offset, const char *data, size_t len)
{
	while (len) {
		bool direct = is_direct(w, offset, data, len);
		size_t part = direct || len < WINDOW_SIZE ? len : WINDOW_SIZE;
		ssize_t n = pwrite(direct ? w->directfd : w->fd, data, part, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && direct && errno == EINVAL) { /* larger blocks than ours */
			__atomic_store_n(&w->no_direct, true, __ATOMIC_RELAXED);
			continue;
		}
		if (n < 0)
			return -errno;
		if (!direct)
			note_dirty(w, offset, (size_t)n);
		data += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int write_zeros(struct window *w, uint64_t end)
{
	static const char zeros[65536];

	while (w->at < end) {
		size_t part = end - w->at < sizeof(zeros) ? (size_t)(end - w->at) : sizeof(zeros);
		int r = io_write_all(w->fd, zeros, part);

		if (r < 0)
			return r;
		w->at += part;
	}
	return 0;
}

int window_write(struct window *w, uint64_t offset, const void *data, size_t len)
{
	int r;

	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EFBIG;
	if (w->seekable) {
		r = write_at(w, offset, data, len);
		keep_pace(w, len);
		return r;
	}
	r = write_zeros(w, offset);
	if (r == 0)
		r = io_write_all(w->fd, data, len);
	w->at += len;
	return r;
}

int window_finish(struct window *w, uint64_t size)
{
	if (!w->seekable)
		return write_zeros(w, size);
	/* A hole at the end has no write that would make the file long enough. */
	if (ftruncate(w->fd, (off_t)size) < 0)
		return -errno;
	turn(w);
	turn(w);
	return 0;
}
