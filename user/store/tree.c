/* SPDX-License-Identifier: MIT */
#include "store/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* A capture is flat; whatever was put below it by hand is removed down to here, and no further. */
#define TREE_DEPTH_MAX 16

int tree_open(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

DIR *tree_stream(int dirfd)
{
	/* Not a dup(): that would share, and move, the caller's position. */
	_cleanup_close_ int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir)
		TAKE_FD(fd);
	return dir;
}

int tree_next(DIR *dir, struct dirent **out)
{
	do {
		errno = 0;
		*out = readdir(dir);
		if (!*out)
			return -errno;
	} while (!strcmp((*out)->d_name, ".") || !strcmp((*out)->d_name, ".."));
	return 1;
}

int tree_lock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

bool tree_is(int dirfd, const char *name, int fd)
{
	struct stat named, opened;

	return fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &opened) == 0 &&
	       named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

static int clear(int dirfd, int depth);

static int remove_one(int dirfd, const char *name, int depth)
{
	_cleanup_close_ int fd = -1;
	int r;

	/* Linux says EISDIR for a directory; the type that readdir() told may be out of date. */
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -errno;
	fd = tree_open(dirfd, name);
	if (fd < 0)
		return fd;
	r = clear(fd, depth + 1);
	if (r < 0)
		return r;
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int clear(int dirfd, int depth)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	int first = 0, r;

	if (depth > TREE_DEPTH_MAX)
		return -ELOOP;
	dir = tree_stream(dirfd);
	if (!dir)
		return -errno;
	while ((r = tree_next(dir, &d)) > 0) {
		int q = remove_one(dirfd, d->d_name, depth);

		first = first ? first : q;
	}
	return r < 0 ? r : first;
}

int tree_clear(int dirfd)
{
	return clear(dirfd, 0);
}
