/* SPDX-License-Identifier: MIT */
#include "capture/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "target/cgroup.h"

#define PAGE	  4096
#define HUGE_PAGE (2UL << 20)

/* Measured on Linux 6.18, and rounded up: 85 to 100 ns a page, 2 us a huge page, 15 us a thread. */
#define PAGE_NS	    130
#define HUGE_NS	    3000
#define THREAD_NS   30000
#define BASE_NS	    (2 * NSEC_PER_MSEC)
#define PLAIN_SPEED (1ULL << 30) /* bytes a second that stop-and-copy writes */
#define ZSTD_SPEED  (400ULL << 20)

/* "Key:   NUMBER kB" in bytes, 0 if there is none. */
static uint64_t kilobytes(const char *text, const char *key)
{
	const char *line = strstr(text, key);

	return line ? strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
}

uint64_t limits_read_huge(int procfd)
{
	_cleanup_free_ char *text = NULL;

	/* Walks the page tables, which a larger process feels as an instant's wait for its lock. */
	if (io_read_file_at(procfd, "smaps_rollup", 16384, &text, NULL) < 0)
		return 0;
	return kilobytes(text, "\nAnonHugePages:");
}

void limits_read_size(int procfd, struct limits_size *out)
{
	_cleanup_free_ char *text = NULL;
	const char *threads;

	*out = (struct limits_size){0};
	if (io_read_file_at(procfd, "status", 65536, &text, NULL) < 0)
		return;
	out->resident = kilobytes(text, "\nVmRSS:");
	out->anonymous = kilobytes(text, "\nRssAnon:") + kilobytes(text, "\nVmSwap:");
	threads = strstr(text, "\nThreads:");
	out->threads = threads ? strtoull(threads + 9, NULL, 10) : 0;
	out->huge = limits_read_huge(procfd);
}

void limits_read_host(struct limits_host *out)
{
	_cleanup_free_ char *memory = NULL, *pressure = NULL;
	const char *average;

	*out = (struct limits_host){0};
	if (io_read_file_at(AT_FDCWD, "/proc/meminfo", 16384, &memory, NULL) == 0) {
		out->memory = kilobytes(memory, "MemTotal:");
		out->available = kilobytes(memory, "\nMemAvailable:");
	}
	/* Absent where the kernel was built or started without it. */
	if (io_read_file_at(AT_FDCWD, "/proc/pressure/memory", 1024, &pressure, NULL) == 0) {
		average = strstr(pressure, "some avg10=");
		out->pressure = average ? strtod(average + 11, NULL) : 0;
	}
}

uint64_t limits_read_headroom(int procfd)
{
	return cgroup_least(CGROUP_ROOT, procfd, "memory", cgroup_memory_left);
}

uint64_t limits_fork_pause(const struct limits_size *s)
{
	uint64_t huge = s->huge < s->anonymous ? s->huge : s->anonymous;

	return BASE_NS + (s->anonymous - huge) / PAGE * PAGE_NS + huge / HUGE_PAGE * HUGE_NS +
	       s->threads * THREAD_NS;
}

uint64_t limits_stop_pause(const struct limits_size *s, bool compressed)
{
	uint64_t speed = compressed ? ZSTD_SPEED : PLAIN_SPEED;

	return BASE_NS + s->threads * THREAD_NS +
	       (uint64_t)((double)s->resident / (double)speed * (double)NSEC_PER_SEC);
}

const char *limits_host_obstacle(const struct limits_host *h)
{
	if (h->pressure > 10)
		return "the host is short of memory (pressure above 10 %)";
	if (h->memory && h->available < h->memory / 10)
		return "the host has less than 10 % of its memory free";
	return NULL;
}

const char *limits_clone_obstacle(const struct limits_size *s, uint64_t headroom)
{
	/* Every page that the process writes meanwhile is charged once more. A fifth of its size,
	 * as the design had it, was not enough: a process of 80 MiB that wrote all of them was
	 * killed with 40 MiB left, faster than anybody could have dropped the clone. */
	return headroom < s->resident
		       ? "its memory cgroup has less left than it would take to write all its pages"
		       : NULL;
}

const char *limits_drop_reason(
	const struct limits_host *h, const struct limits_size *s, uint64_t headroom)
{
	if (h->memory && h->available < h->memory / 20)
		return "the host had less than 5 % of its memory free";
	if (headroom < s->resident / 20)
		return "the memory cgroup of the process had less than 5 % of its size left";
	return NULL;
}

static int take_slot(int runtimefd, unsigned int i, int *fd)
{
	_cleanup_close_ int slot = -1;
	char name[32];

	snprintf(name, sizeof(name), "live-slot-%u", i);
	slot = openat(runtimefd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (slot < 0)
		return -errno;
	if (flock(slot, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	*fd = TAKE_FD(slot);
	return 0;
}

int limits_take_slot(int runtimefd, unsigned int n, int *fd)
{
	int r = take_slot(runtimefd, 0, fd);

	for (unsigned int i = 1; r == -EBUSY && i < n; i++)
		r = take_slot(runtimefd, i, fd);
	return r;
}
