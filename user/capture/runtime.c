/* SPDX-License-Identifier: MIT */
#include "capture/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "target/process.h"
#include "target/stat.h"

int runtime_open_below(int runtimefd, const char *name, int create, int *fd)
{
	_cleanup_close_ int dir = -1;
	struct stat st;

	if (create && mkdirat(runtimefd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	dir = openat(runtimefd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (fstat(dir, &st) < 0)
		return -errno;
	/* /run is root's, but a directory that somebody made there earlier would let him answer for
	 * us. */
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	if ((st.st_mode & 0777) != 0700 && fchmod(dir, 0700) < 0)
		return -errno;
	*fd = TAKE_FD(dir);
	return 0;
}

int runtime_open(const char *path, int create, int *fd)
{
	return runtime_open_below(AT_FDCWD, path, create, fd);
}

int runtime_own_name(char out[RUNTIME_NAME_MAX])
{
	_cleanup_close_ int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat_line stat;
	int r;

	if (self < 0)
		return -errno;
	r = stat_read(self, &stat);
	if (r < 0)
		return r;
	snprintf(out, RUNTIME_NAME_MAX, "%d-%llu", getpid(), (unsigned long long)stat.start_ticks);
	return 0;
}

int runtime_parse_name(const char *name, const char *suffix, pid_t *pid, uint64_t *start_ticks)
{
	unsigned long long start;
	int id, end = 0;

	if (sscanf(name, "%d-%llu%n", &id, &start, &end) != 2 || strcmp(name + end, suffix) != 0)
		return -EINVAL;
	*pid = id;
	*start_ticks = start;
	return 0;
}

bool runtime_is_alive(pid_t pid, uint64_t start_ticks)
{
	_cleanup_process_ struct process process = PROCESS_NONE;
	int r = process_open(pid, &process);

	if (r < 0)
		return r != -ESRCH;
	return process.start_ticks == start_ticks && process_verify(&process) == 0;
}

int runtime_write(int dirfd, const char *name, const void *bytes, size_t len)
{
	_cleanup_close_ int fd = -1;
	char temporary[RUNTIME_NAME_MAX + 16];
	int r;

	snprintf(temporary, sizeof(temporary), ".%s.new", name);
	if (unlinkat(dirfd, temporary, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = io_write_all(fd, bytes, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, temporary, 0);
		return r;
	}
	/* A file system that cannot sync a directory (EINVAL) has nothing to lose. */
	return fsync(dirfd) < 0 && errno != EINVAL ? -errno : 0;
}

int runtime_lock(int runtimefd, const char *name, uint64_t timeout_ns, int *fd)
{
	const struct timespec nap = {.tv_nsec = 10 * NSEC_PER_MSEC};
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + timeout_ns;
	_cleanup_close_ int lock =
		openat(runtimefd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (lock < 0)
		return -errno;
	while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EINTR && errno != EWOULDBLOCK)
			return -errno;
		if (clock_now_ns(CLOCK_MONOTONIC) >= end)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
	*fd = TAKE_FD(lock);
	return 0;
}
