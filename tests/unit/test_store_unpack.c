/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "lib/cleanup.h"
#include "store/unpack.h"

#define SIZE (9 * 1024 * 1024 + 17)

/* A core: something at its head, across a block's border in the middle, and a hole to its end. */
static char *make_core(void)
{
	char *core = calloc(1, SIZE);

	cr_assert_not_null(core);
	memcpy(core,
		"\x7f"
		"ELF",
		4);
	memset(core + 5 * 1024 * 1024 - 3, 'x', 7);
	return core;
}

static int file_with(const void *bytes, size_t size)
{
	int fd = memfd_create("core", MFD_CLOEXEC);

	cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static int compressed(const char *core, size_t cut)
{
	size_t bound = ZSTD_compressBound(SIZE);
	_cleanup_free_ char *buf = malloc(bound);
	size_t n = ZSTD_compress(buf, bound, core, SIZE, 1);

	cr_assert_not(ZSTD_isError(n));
	return file_with(buf, n - cut);
}

static void holds(int fd, const char *core)
{
	_cleanup_free_ char *buf = malloc(SIZE + 1);
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_size, SIZE);
	cr_assert_eq(pread(fd, buf, SIZE + 1, 0), SIZE);
	cr_assert_eq(memcmp(buf, core, SIZE), 0);
}

Test(unpack, gives_the_same_bytes_back_with_holes)
{
	_cleanup_free_ char *core = make_core();

	for (int zstd = 0; zstd < 2; zstd++) {
		_cleanup_close_ int from = zstd ? compressed(core, 0) : file_with(core, SIZE);
		_cleanup_close_ int to = memfd_create("plain", MFD_CLOEXEC);
		uint64_t bytes = 0;
		struct stat st;

		cr_assert_eq(store_unpack(from, zstd, to, true, NULL, &bytes), 0);
		cr_assert_eq(bytes, SIZE);
		holds(to, core);
		fstat(to, &st);
		cr_assert_leq(st.st_blocks * 512, 3 * 4096);
	}
}

Test(unpack, writes_every_byte_into_a_pipe)
{
	_cleanup_free_ char *core = make_core();
	_cleanup_close_ int from = compressed(core, 0), to = memfd_create("plain", MFD_CLOEXEC);
	uint64_t bytes = 0;

	cr_assert_eq(store_unpack(from, true, to, false, NULL, &bytes), 0);
	holds(to, core);
}

Test(unpack, frames_follow_each_other)
{
	_cleanup_free_ char *core = make_core();
	char head[128], tail[128];
	size_t a = ZSTD_compress(head, sizeof(head),
		       "\x7f"
		       "EL",
		       3, 1),
	       b = ZSTD_compress(tail, sizeof(tail), "F", 1, 1);
	_cleanup_close_ int to = memfd_create("plain", MFD_CLOEXEC), from = -1;
	uint64_t bytes = 0;

	memcpy(head + a, tail, b);
	from = file_with(head, a + b);
	cr_assert_eq(store_unpack(from, true, to, true, NULL, &bytes), 0);
	cr_assert_eq(bytes, 4);
}

Test(unpack, damage_is_an_error)
{
	_cleanup_free_ char *core = make_core();
	_cleanup_close_ int cut = compressed(core, 1), rubbish = file_with(core, SIZE),
			    empty = file_with("", 0);
	_cleanup_close_ int to = memfd_create("plain", MFD_CLOEXEC);
	uint64_t bytes;

	cr_assert_eq(store_unpack(cut, true, to, true, NULL, &bytes), -EBADMSG);
	cr_assert_eq(store_unpack(rubbish, true, to, true, NULL, &bytes), -EBADMSG);
	cr_assert_eq(store_unpack(empty, true, to, true, NULL, &bytes), -EBADMSG);
}

static bool yes(void)
{
	return true;
}

Test(unpack, stops_when_told)
{
	_cleanup_free_ char *core = make_core();
	_cleanup_close_ int from = compressed(core, 0), to = memfd_create("plain", MFD_CLOEXEC);
	uint64_t bytes;

	cr_assert_eq(store_unpack(from, true, to, true, yes, &bytes), -ECANCELED);
}
