/* SPDX-License-Identifier: MIT */
#include "target/usage.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "target/cgroup.h"

static_assert(USAGE_UNKNOWN == CGROUP_UNBOUNDED, "handed on as it is");

uint64_t usage_read_fds(int procfd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	struct stat st;
	uint64_t n = 0;

	/* Since Linux 6.2 the size of the directory is their number. */
	if (fstatat(procfd, "fd", &st, 0) == 0 && st.st_size > 0)
		return (uint64_t)st.st_size;
	if (io_open_dir_at(procfd, "fd", &dir) < 0)
		return USAGE_UNKNOWN;
	errno = 0;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	return errno ? USAGE_UNKNOWN : n;
}

uint64_t usage_read_quota(int procfd)
{
	return cgroup_least(CGROUP_ROOT, procfd, "cpu", cgroup_quota);
}

uint64_t usage_read_memory_limit(int procfd)
{
	return cgroup_least(CGROUP_ROOT, procfd, "memory", cgroup_memory_limit);
}
