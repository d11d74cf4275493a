/* SPDX-License-Identifier: MIT */
#include "target/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

#define V1_UNLIMITED (1ULL << 62) /* version 1 says "no limit" as a number of pages near 2^63 */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t parse_number(const char *text)
{
	return *text >= '0' && *text <= '9' ? strtoull(text, NULL, 10) : CGROUP_UNBOUNDED;
}

uint64_t cgroup_read_number(int dirfd, const char *name)
{
	_cleanup_free_ char *text = NULL;

	return io_read_file_at(dirfd, name, 64, &text, NULL) < 0 ? CGROUP_UNBOUNDED
								 : parse_number(text);
}

/* The directory PATH and all above it, up to ROOTFD itself. */
static uint64_t walk_up(int rootfd, char *path, int version, cgroup_reader *read)
{
	uint64_t found = CGROUP_UNBOUNDED;

	for (;;) {
		const char *relative = path + strspn(path, "/");
		_cleanup_close_ int fd = openat(rootfd, *relative ? relative : ".",
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		char *slash = strrchr(path, '/');

		if (fd >= 0)
			found = least(found, read(fd, version));
		if (!*relative || !slash)
			return found;
		*slash = '\0';
	}
}

static bool names(const char *list, const char *controller)
{
	const size_t len = strlen(controller);

	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (strncmp(p, controller, len) == 0 && (p[len] == ',' || p[len] == '\0'))
			return true;
	return false;
}

/* Where version 1 has the controllers, version 2 may lie beside them, in "unified". */
static int open_hierarchy(const char *root, int version, const char *list)
{
	_cleanup_close_ int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (version == 2 && faccessat(fd, "cgroup.procs", F_OK, 0) == 0)
		return TAKE_FD(fd);
	return openat(fd, version == 2 ? "unified" : list, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* One line of /proc/PID/cgroup: "0::PATH" of version 2, "N:CONTROLLER,…:PATH" of version 1. */
static uint64_t read_line(const char *root, char *line, const char *controller, cgroup_reader *read)
{
	_cleanup_close_ int fd = -1;
	char *path = line;
	const char *id = strsep(&path, ":"), *list = path ? strsep(&path, ":") : NULL;
	const int version = list && !*list && strcmp(id, "0") == 0 ? 2 : 1;

	/* A path that leads upwards lies outside of our own cgroup namespace. */
	if (!list || !path || strstr(path, "/../") || (version == 1 && !names(list, controller)))
		return CGROUP_UNBOUNDED;
	fd = open_hierarchy(root, version, list);
	return fd < 0 ? CGROUP_UNBOUNDED : walk_up(fd, path, version, read);
}

uint64_t cgroup_least(const char *root, int procfd, const char *controller, cgroup_reader *read)
{
	_cleanup_free_ char *text = NULL;
	uint64_t found = CGROUP_UNBOUNDED;
	char *rest, *line;

	if (io_read_file_at(procfd, "cgroup", 65536, &text, NULL) < 0)
		return CGROUP_UNBOUNDED;
	for (rest = text; (line = strsep(&rest, "\n")) != NULL;)
		found = least(found, read_line(root, line, controller, read));
	return found;
}

uint64_t cgroup_quota(int dirfd, int version)
{
	_cleanup_free_ char *text = NULL;
	uint64_t quota, period;

	if (version == 1) {
		quota = cgroup_read_number(dirfd, "cpu.cfs_quota_us");
		period = cgroup_read_number(dirfd, "cpu.cfs_period_us");
	} else {
		if (io_read_file_at(dirfd, "cpu.max", 64, &text, NULL) < 0)
			return CGROUP_UNBOUNDED;
		quota = parse_number(text);
		period = parse_number(text + strcspn(text, " ") + (strchr(text, ' ') != NULL));
	}
	/* The kernel allows periods of up to a second, and quotas of 2^44 us. */
	if (quota > UINT64_MAX / NSEC_PER_SEC || period == 0 || period == CGROUP_UNBOUNDED)
		return CGROUP_UNBOUNDED;
	return quota * NSEC_PER_SEC / period;
}

uint64_t cgroup_memory_limit(int dirfd, int version)
{
	uint64_t limit =
		cgroup_read_number(dirfd, version == 1 ? "memory.limit_in_bytes" : "memory.max");

	return limit < V1_UNLIMITED ? limit : CGROUP_UNBOUNDED;
}

/* Page cache of the group, which the kernel gives up before it refuses memory. */
static uint64_t read_cache(int dirfd, const char *key)
{
	_cleanup_free_ char *text = NULL;
	const char *line;

	if (io_read_file_at(dirfd, "memory.stat", 65536, &text, NULL) < 0)
		return 0;
	line = strstr(text, key);
	return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

uint64_t cgroup_memory_left(int dirfd, int version)
{
	uint64_t limit = cgroup_memory_limit(dirfd, version),
		 used = cgroup_read_number(
			 dirfd, version == 1 ? "memory.usage_in_bytes" : "memory.current");

	/* Past it the kernel kills nobody, but has whoever takes more sleep for seconds. */
	if (version == 2)
		limit = least(limit, cgroup_read_number(dirfd, "memory.high"));
	if (limit == CGROUP_UNBOUNDED || used == CGROUP_UNBOUNDED)
		return CGROUP_UNBOUNDED;
	return (limit > used ? limit - used : 0) +
	       read_cache(dirfd, version == 1 ? "total_inactive_file " : "inactive_file ");
}

/* The version of a group that is to be frozen, whether all in it have come to rest or not. */
static uint64_t read_frozen(int dirfd, int version)
{
	_cleanup_free_ char *state = NULL;

	if (version == 2)
		return cgroup_read_number(dirfd, "cgroup.freeze") == 1 ? 2 : CGROUP_UNBOUNDED;
	if (io_read_file_at(dirfd, "freezer.state", 64, &state, NULL) < 0)
		return CGROUP_UNBOUNDED;
	return strncmp(state, "FR", 2) == 0 ? 1 : CGROUP_UNBOUNDED; /* FROZEN, FREEZING */
}

int cgroup_frozen(const char *root, int procfd)
{
	uint64_t version = cgroup_least(root, procfd, "freezer", read_frozen);

	return version == CGROUP_UNBOUNDED ? 0 : (int)version;
}
