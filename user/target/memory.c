/* SPDX-License-Identifier: MIT */
#include "target/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* Documentation/admin-guide/mm/pagemap.rst. Before Linux 6.15, bit 58 reads as zero. */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_SWAPPED (1ULL << 62)
#define PAGEMAP_FILE	(1ULL << 61)
#define PAGEMAP_GUARD	(1ULL << 58)

/* Addresses are passed as they are: /proc/PID/mem takes offsets above LLONG_MAX, where [vsyscall]
 * lies. */
static ssize_t read_mem(struct memory *m, uint64_t address, void *buf, size_t len)
{
	ssize_t n;

	do
		n = pread(m->memfd, buf, len, (off_t)address);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	/* The kernel answers 0 once the address space is gone, EIO for a page it cannot get. */
	if (n == 0)
		return -ESRCH;
	return errno == EIO ? -EFAULT : -errno;
}

static uint8_t page_state(uint64_t entry)
{
	/* A guard marker (MADV_GUARD_INSTALL) looks like a swapped page; there is nothing behind
	 * it. */
	if ((entry & PAGEMAP_GUARD) || !(entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)))
		return MEMORY_UNTOUCHED;
	return (entry & PAGEMAP_FILE) ? MEMORY_FILE : MEMORY_ANONYMOUS;
}

static int read_pagemap(struct memory *m, uint64_t address, size_t pages, uint8_t *states)
{
	uint64_t entries[2048];

	while (pages) {
		size_t want = pages < ARRAY_SIZE(entries) ? pages : ARRAY_SIZE(entries);
		off_t offset = (off_t)(address / MEMORY_PAGE * sizeof(entries[0]));
		ssize_t n = pread(m->pagemapfd, entries, want * sizeof(entries[0]), offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if ((size_t)n < sizeof(entries[0]))
			return -ESRCH;
		want = (size_t)n / sizeof(entries[0]);
		for (size_t i = 0; i < want; i++)
			*states++ = page_state(entries[i]);
		address += want * MEMORY_PAGE;
		pages -= want;
	}
	return 0;
}

/* PAGEMAP_SCAN of Linux 6.7, which older headers do not have: Documentation/admin-guide/mm. It goes
 * over page tables that are not there, where reading the pagemap gives 8 bytes for every page. */
#define SCAN_PRESENT (1ULL << 3)
#define SCAN_SWAPPED (1ULL << 4)

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arguments {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted,
		category_mask, category_anyof_mask, return_mask;
};

#define SCAN _IOWR('f', 16, struct scan_arguments)

static int skip_untouched(struct memory *m, uint64_t *address, uint64_t end)
{
	struct scan_region found = {0};
	struct scan_arguments a = {
		.size = sizeof(a),
		.start = *address,
		.end = end,
		.vec = (uintptr_t)&found,
		.vec_len = 1,
		.max_pages = 1,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_PRESENT | SCAN_SWAPPED,
	};
	uint64_t entry;
	int n;

	do
		n = ioctl(m->pagemapfd, SCAN, &a);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return 0;
	/* An address space that has gone has no pages either: the scan holds if it is there still.
	 */
	if (pread(m->pagemapfd, &entry, sizeof(entry),
		    (off_t)(*address / MEMORY_PAGE * sizeof(entry))) != sizeof(entry))
		return -ESRCH;
	*address = n > 0 ? found.start : end;
	return 0;
}

/* Opens the file of MAPPING if it is on tmpfs, which all anonymous shared memory is; -EOPNOTSUPP if
 * not. Nothing else is opened: a device acts on it, a FUSE server chosen by the process may never
 * answer. */
static int open_shared(int taskfd, const struct mapping *mapping)
{
	_cleanup_close_ int pathfd = -1;
	char name[80];
	struct statfs fs;
	struct stat st;
	int fd;

	snprintf(name, sizeof(name), "../../map_files/%" PRIx64 "-%" PRIx64, mapping->start,
		mapping->end);
	pathfd = openat(taskfd, name, O_PATH | O_CLOEXEC);
	if (pathfd < 0 || fstat(pathfd, &st) < 0 || fstatfs(pathfd, &fs) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || fs.f_type != TMPFS_MAGIC)
		return -EOPNOTSUPP;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", pathfd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int find_shared(struct memory *m, const struct mapping *mapping, uint64_t address,
	size_t pages, uint8_t *states)
{
	_cleanup_close_ int fd = open_shared(m->taskfd, mapping);
	const uint64_t first = mapping->offset + (address - mapping->start);
	const uint64_t end = first + pages * MEMORY_PAGE;
	off_t at = (off_t)first;

	/* A file on a disk has no pages that would be allocated by reading them. */
	if (fd == -EOPNOTSUPP) {
		memset(states, MEMORY_FILE, pages);
		return 0;
	}
	if (fd < 0)
		return fd;
	while (at >= 0 && (uint64_t)at < end) {
		off_t hole;

		at = lseek(fd, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(fd, at, SEEK_HOLE);
		if (hole < 0)
			return errno == ENXIO ? 0 : -errno;
		for (uint64_t p = (uint64_t)at; p < end && p < (uint64_t)hole; p += MEMORY_PAGE)
			states[(p - first) / MEMORY_PAGE] = MEMORY_FILE;
		at = hole;
	}
	return 0;
}

int memory_open(int taskfd, struct memory *out)
{
	_cleanup_close_ int memfd = openat(taskfd, "mem", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int pagemapfd = -1, dirfd = -1;

	if (memfd < 0)
		return -errno;
	pagemapfd = openat(taskfd, "pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemapfd < 0)
		return -errno;
	dirfd = fcntl(taskfd, F_DUPFD_CLOEXEC, 3);
	if (dirfd < 0)
		return -errno;
	*out = (struct memory){
		.read = read_mem,
		.pages = read_pagemap,
		.shared = find_shared,
		.skip = skip_untouched,
		.memfd = TAKE_FD(memfd),
		.pagemapfd = TAKE_FD(pagemapfd),
		.taskfd = TAKE_FD(dirfd),
	};
	return 0;
}

void memory_close(struct memory *m)
{
	/* A zeroed owner, never opened, must not close descriptor 0. */
	if (!m->read)
		return;
	cleanup_close(&m->memfd);
	cleanup_close(&m->pagemapfd);
	cleanup_close(&m->taskfd);
	m->read = NULL;
}
