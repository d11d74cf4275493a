/* SPDX-License-Identifier: MIT */
#include "target/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define OPEN_READ (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* Looks before it opens: opening a device can do things. O_NONBLOCK is for what replaces the file
 * in between. */
static int open_regular(int dirfd, const char *path, struct stat *st)
{
	_cleanup_close_ int fd = -1;

	if (fstatat(dirfd, path, st, 0) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	fd = openat(dirfd, path, OPEN_READ);
	if (fd < 0 || fstat(fd, st) < 0)
		return -errno;
	return S_ISREG(st->st_mode) ? TAKE_FD(fd) : -EINVAL;
}

/* The very file that is mapped, also when it is unlinked or in another mount namespace. */
static int open_mapped(int procfd, const struct mapping *m)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "map_files/%" PRIx64 "-%" PRIx64, m->start, m->end);
	return open_regular(procfd, path, &st);
}

/* By name below the process' root, for a mapping that map_files does not show (the leader is gone).
 * What is there now need not be what was mapped, so device and inode must agree. */
static int open_named(int procfd, pid_t tid, const struct mapping *m)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	_cleanup_close_ int root = openat(procfd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int path = -1;
	char name[64];
	struct stat st;

	if (m->deleted || m->name[0] != '/')
		return -ENOENT;
	if (root < 0) {
		snprintf(name, sizeof(name), "task/%d/root", (int)tid);
		root = openat(procfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (root < 0)
		return -errno;
	path = (int)syscall(SYS_openat2, root, m->name, &how, sizeof(how));
	if (path < 0 || fstat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_ino != m->inode || major(st.st_dev) != m->major ||
		minor(st.st_dev) != m->minor)
		return -ESTALE;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", path);
	return open_regular(AT_FDCWD, name, &st);
}

int mapped_open(int procfd, pid_t tid, const struct mapping *m)
{
	int fd = open_mapped(procfd, m), other;

	if (fd >= 0 || fd == -EMFILE || fd == -ENFILE)
		return fd;
	other = open_named(procfd, tid, m);
	return other >= 0 ? other : fd;
}
