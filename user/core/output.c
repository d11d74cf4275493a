/* SPDX-License-Identifier: MIT */
#include "core/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <zstd.h>

#include "core/window.h"
#include "lib/cleanup.h"

/* Zeros compress to 4 bytes in 128 KiB, so a long hole costs nothing but the time to compress it.
 * Frames of zeros are compressed once and appended as often as needed: concatenated frames are one
 * legal stream (RFC 8878). */
#define FRAME_LARGE (64UL << 20)
#define FRAME_SMALL (1UL << 20)
/* Ending a frame makes the compressor's threads finish their work: only for holes that are worth
 * it. */
#define HOLE_WORTH  (8 * FRAME_SMALL)
#define WORKERS_MAX 2
/* More than the compressor's threads ever hold: jobs of 2 MiB at level 1, those that wait, and
 * their results. */
#define PENDING_MAX (64L << 20)

struct frame {
	void *data;
	size_t size;
};

struct output {
	struct window window;
	ZSTD_CCtx *zstd; /* NULL: uncompressed */
	uint64_t at;	 /* compressed: bytes of the core so far */
	uint64_t size;	 /* and of the file */
	bool in_frame;
	struct frame large, small;
	void *buffer;
	size_t buffer_size;
};

static const char zeros[FRAME_SMALL / 8];

static int put_compressed(struct output *o, const void *data, size_t len, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = {.src = data, .size = len};
	bool finished = false;

	while (!finished) {
		ZSTD_outBuffer out = {.dst = o->buffer, .size = o->buffer_size};
		size_t left = ZSTD_compressStream2(o->zstd, &out, &in, end);
		int r;

		if (ZSTD_isError(left))
			return -ENOMEM;
		r = window_write(&o->window, o->size, o->buffer, out.pos);
		if (r < 0)
			return r;
		o->size += out.pos;
		finished = end == ZSTD_e_continue ? in.pos == in.size : left == 0;
	}
	o->in_frame = end != ZSTD_e_end;
	return 0;
}

static int make_frame(size_t zero_bytes, struct frame *out)
{
	size_t room = ZSTD_compressBound(zero_bytes) / 256;
	_cleanup_free_ void *data = malloc(room);
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	ZSTD_outBuffer to = {.dst = data, .size = room};
	size_t left = 1;

	if (!data || !zstd) {
		ZSTD_freeCCtx(zstd);
		return -ENOMEM;
	}
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setPledgedSrcSize(zstd, zero_bytes);
	for (size_t done = 0; done < zero_bytes; done += sizeof(zeros)) {
		ZSTD_inBuffer in = {.src = zeros, .size = sizeof(zeros)};
		bool last = done + sizeof(zeros) == zero_bytes;

		left = ZSTD_compressStream2(zstd, &to, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			break;
	}
	ZSTD_freeCCtx(zstd);
	if (left != 0)
		return -ENOMEM;
	*out = (struct frame){.data = TAKE_PTR(data), .size = to.pos};
	return 0;
}

static int put_frames(struct output *o, struct frame *f, size_t zero_bytes, uint64_t *len)
{
	int r;

	if (*len < zero_bytes)
		return 0;
	if (!f->data) {
		r = make_frame(zero_bytes, f);
		if (r < 0)
			return r;
	}
	for (; *len >= zero_bytes; *len -= zero_bytes) {
		r = window_write(&o->window, o->size, f->data, f->size);
		if (r < 0)
			return r;
		o->size += f->size;
	}
	return 0;
}

static int put_hole(struct output *o, uint64_t len)
{
	int r = 0;

	if (len >= HOLE_WORTH) {
		if (o->in_frame)
			r = put_compressed(o, NULL, 0, ZSTD_e_end);
		if (r == 0)
			r = put_frames(o, &o->large, FRAME_LARGE, &len);
		if (r == 0)
			r = put_frames(o, &o->small, FRAME_SMALL, &len);
	}
	while (r == 0 && len) {
		size_t part = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);

		r = put_compressed(o, zeros, part, ZSTD_e_continue);
		len -= part;
	}
	return r;
}

static int set_up_zstd(struct output *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	o->buffer_size = ZSTD_CStreamOutSize();
	o->buffer = malloc(o->buffer_size);
	o->zstd = ZSTD_createCCtx();
	if (!o->buffer || !o->zstd)
		return -ENOMEM;
	ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_checksumFlag, 1);
	/* Fails where the library was built without threads, which then does it all in this one. */
	ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_nbWorkers, cpus < WORKERS_MAX ? 1 : WORKERS_MAX);
	return 0;
}

int output_open(int fd, enum core_compression compression, struct output **out)
{
	_cleanup_output_ struct output *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	r = window_open(fd, &o->window);
	if (r == 0 && compression == COMPRESS_ZSTD)
		r = set_up_zstd(o);
	if (r < 0)
		return r;
	*out = TAKE_PTR(o);
	return 0;
}

void output_set_threads(struct output *o, unsigned int threads)
{
	if (o->zstd && threads)
		ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_nbWorkers, (int)threads);
}

void output_set_speed(struct output *o, uint64_t bytes)
{
	window_pace(&o->window, bytes);
}

bool output_any_order(const struct output *o)
{
	return !o->zstd && o->window.seekable;
}

int output_write(struct output *o, uint64_t offset, const void *data, size_t len)
{
	int r;

	if (!o->zstd)
		return window_write(&o->window, offset, data, len);
	r = put_hole(o, offset - o->at);
	if (r == 0)
		r = put_compressed(o, data, len, ZSTD_e_continue);
	o->at = offset + len;
	return r;
}

int output_finish(struct output *o, uint64_t size, uint64_t *written)
{
	int r;

	*written = size;
	if (!o->zstd)
		return window_finish(&o->window, size);
	r = put_hole(o, size - o->at);
	if (r == 0 && o->in_frame)
		r = put_compressed(o, NULL, 0, ZSTD_e_end);
	if (r == 0)
		r = window_finish(&o->window, o->size);
	*written = o->size;
	return r;
}

void output_free(struct output **o)
{
	if (!*o)
		return;
	window_close(&(*o)->window);
	ZSTD_freeCCtx((*o)->zstd);
	free((*o)->buffer);
	free((*o)->large.data);
	free((*o)->small.data);
	free(*o);
	*o = NULL;
}

static int64_t free_room(int fd, uint64_t keep_free)
{
	struct statfs fs;
	struct stat st;
	uint64_t free_bytes;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fstatfs(fd, &fs) < 0)
		return INT64_MAX;
	if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_bsize, &free_bytes) ||
		free_bytes > INT64_MAX)
		return INT64_MAX;
	return (int64_t)free_bytes - (int64_t)(keep_free > INT64_MAX ? INT64_MAX : keep_free);
}

int output_room(struct output *o, uint64_t keep_free, int64_t *room)
{
	int r;

	*room = free_room(o->window.fd, keep_free);
	if (*room > PENDING_MAX || !o->in_frame)
		return 0;
	r = put_compressed(o, NULL, 0, ZSTD_e_flush);
	*room = free_room(o->window.fd, keep_free);
	return r;
}
