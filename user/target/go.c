/* SPDX-License-Identifier: MIT */
#include "target/go.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

/* Go's debug/buildinfo: the magic, flags, and since 1.18 at byte 32 the version, its length before
 * it. */
#define MAGIC	    "\xff Go buildinf:"
#define MAGIC_SIZE  14
#define FLAGS_AT    15
#define FLAG_INLINE 2
#define VERSION_AT  32
#define VERSION_MAX 64
/* Words of struct g (runtime2.go), the same from 1.17 to 1.24, and where a struct m has its thread.
 */
#define G_STACK_LOW	0
#define G_STACK_HIGH	1
#define G_M		6
#define G_SCHED_SP	7
#define G_WORDS		8
#define M_PROCID_OFFSET 72

#define BLOCK	       (1u << 20)
#define EXECUTABLE_MAX (256ull << 20) /* it stands before what debuggers read */

/* "go1.19.8", "go1.21rc2" */
static int parse_minor(const char *s, size_t size, unsigned int *minor)
{
	unsigned int n = 0, digits = 0;

	if (size < 5 || memcmp(s, "go1.", 4) != 0)
		return -EINVAL;
	for (size_t i = 4; i < size && isdigit((unsigned char)s[i]) && digits < 4; i++, digits++)
		n = n * 10 + (unsigned int)(s[i] - '0');
	if (digits == 0)
		return -EINVAL;
	*minor = n;
	return 0;
}

int go_find_minor(const void *bytes, size_t size, unsigned int *minor)
{
	const char *at = bytes, *end = at + size;

	while ((at = memmem(at, (size_t)(end - at), MAGIC, MAGIC_SIZE)) != NULL) {
		size_t left = (size_t)(end - at), length;

		if (left <= VERSION_AT)
			return -ENOENT;
		length = (unsigned char)at[VERSION_AT];
		/* Programs that read this themselves hold the magic among their constants, too. */
		if (at[FLAGS_AT] & FLAG_INLINE && length <= VERSION_MAX &&
			left > VERSION_AT + length &&
			parse_minor(at + VERSION_AT + 1, length, minor) == 0)
			return 0;
		at += MAGIC_SIZE;
	}
	return -ENOENT;
}

int go_goid_offset(unsigned int minor, uint32_t *offset)
{
	/* syscallbp came before it in 1.23. */
	if (minor < 18 || minor > 24)
		return -EOPNOTSUPP;
	*offset = minor < 23 ? 152 : 160;
	return 0;
}

int go_read_goid_offset(int procfd, uint32_t *offset)
{
	const size_t overlap = VERSION_AT + VERSION_MAX + 1;
	_cleanup_close_ int fd = openat(procfd, "exe", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *block = malloc(BLOCK + overlap);
	struct stat st;
	size_t held = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (!block)
		return -ENOMEM;
	for (uint64_t done = 0; done < EXECUTABLE_MAX; done += BLOCK) {
		ssize_t n = io_read_upto(fd, block + held, BLOCK);
		unsigned int minor;

		if (n <= 0)
			return n < 0 ? (int)n : -ENOENT;
		held += (size_t)n;
		if (go_find_minor(block, held, &minor) == 0)
			return go_goid_offset(minor, offset);
		if (held > overlap) {
			memmove(block, block + held - overlap, overlap);
			held = overlap;
		}
	}
	return -ENOENT;
}

static int read_memory(int memfd, uint64_t address, void *out, size_t size)
{
	ssize_t n = pread(memfd, out, size, (off_t)address);

	return n < 0 ? -errno : (size_t)n < size ? -EFAULT : 0;
}

int go_read_goroutine(int memfd, uint64_t address, uint32_t offset, struct goroutine *out)
{
	uint64_t words[G_WORDS], tid = 0, number = 0;
	int r = read_memory(memfd, address, words, sizeof(words));

	if (r == 0 && offset)
		r = read_memory(memfd, address + offset, &number, sizeof(number));
	if (r == 0 && words[G_M])
		r = read_memory(memfd, words[G_M] + M_PROCID_OFFSET, &tid, sizeof(tid));
	if (r < 0)
		return r;
	*out = (struct goroutine){.number = number,
		.stack_low = words[G_STACK_LOW],
		.stack_high = words[G_STACK_HIGH],
		.sp = words[G_SCHED_SP],
		.tid = tid <= INT32_MAX ? (pid_t)tid : 0};
	return 0;
}
