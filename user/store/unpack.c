/* SPDX-License-Identifier: MIT */
#include "store/unpack.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define CHUNK	   (1024 * 1024)
#define HOLE_BLOCK 4096

struct sink {
	int fd;
	bool sparse;
	bool (*cancelled)(void);
	uint64_t bytes;
};

static void cleanup_dstream(ZSTD_DStream **d)
{
	ZSTD_freeDStream(*d);
}

static int write_at(const struct sink *s, const char *p, size_t n, uint64_t offset)
{
	while (n) {
		ssize_t w = pwrite(s->fd, p, n, (off_t)offset);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		p += w;
		n -= (size_t)w;
		offset += (uint64_t)w;
	}
	return 0;
}

/* Writes runs of blocks that hold something; what lies between stays a hole. */
static int put(struct sink *s, const char *p, size_t n)
{
	size_t from = 0, at = 0;
	int r = 0;

	if (s->cancelled && s->cancelled())
		return -ECANCELED;
	if (!s->sparse) {
		s->bytes += n;
		return io_write_all(s->fd, p, n);
	}
	while (at < n && r == 0) {
		size_t block = n - at < HOLE_BLOCK ? n - at : HOLE_BLOCK;

		if (io_is_zero(p + at, block)) {
			r = write_at(s, p + from, at - from, s->bytes + from);
			from = at + block;
		}
		at += block;
	}
	if (r == 0)
		r = write_at(s, p + from, at - from, s->bytes + from);
	s->bytes += n;
	return r;
}

static int copy_plain(int from, struct sink *s, char *buf)
{
	ssize_t n;

	while ((n = io_read_upto(from, buf, CHUNK)) > 0) {
		int r = put(s, buf, (size_t)n);

		if (r < 0)
			return r;
	}
	return (int)n;
}

static int decompress(int from, struct sink *s, char *in, char *out)
{
	__attribute__((cleanup(cleanup_dstream))) ZSTD_DStream *d = ZSTD_createDStream();
	size_t more = 1; /* 0: a frame ended here */

	if (!d)
		return -ENOMEM;
	for (;;) {
		ssize_t n = io_read_upto(from, in, CHUNK);
		ZSTD_inBuffer src = {in, n > 0 ? (size_t)n : 0, 0};

		if (n < 0)
			return (int)n;
		if (n == 0)
			return more ? -EBADMSG : 0;
		/* Full output means that the decoder may hold more than it gave. */
		for (bool full = false; full || src.pos < src.size;) {
			ZSTD_outBuffer dst = {out, CHUNK, 0};
			int r;

			more = ZSTD_decompressStream(d, &dst, &src);
			if (ZSTD_isError(more))
				return -EBADMSG;
			r = dst.pos ? put(s, out, dst.pos) : 0;
			if (r < 0)
				return r;
			full = dst.pos == dst.size && more;
		}
	}
}

int store_unpack(
	int from, bool compressed, int to, bool sparse, bool (*cancelled)(void), uint64_t *bytes)
{
	_cleanup_free_ char *in = malloc(CHUNK), *out = compressed ? malloc(CHUNK) : NULL;
	struct sink s = {.fd = to, .sparse = sparse, .cancelled = cancelled};
	int r;

	if (!in || (compressed && !out))
		return -ENOMEM;
	r = compressed ? decompress(from, &s, in, out) : copy_plain(from, &s, in);
	/* A hole at the end is only there once the size says so. */
	if (r == 0 && sparse && ftruncate(to, (off_t)s.bytes) < 0)
		r = -errno;
	*bytes = s.bytes;
	return r;
}
