/* SPDX-License-Identifier: MIT */
#include "lib/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/cleanup.h"

int new_file_open(const char *path, struct new_file *out)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *directory =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	_cleanup_free_ char *name = strdup(slash ? slash + 1 : path);
	int fd;

	if (!directory || !name)
		return -ENOMEM;
	if (!*name)
		return -EISDIR;
	fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*out = NEW_FILE_NONE;
	out->dirfd = fd;
	out->name = TAKE_PTR(name);
	return 0;
}

static int temporary_name(struct new_file *f)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return -errno;
	snprintf(f->temporary, sizeof(f->temporary), ".coretrap-%016llx",
		(unsigned long long)random);
	return 0;
}

int new_file_begin(struct new_file *f)
{
	int r;

	new_file_discard(f);
	f->fd = openat(f->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	/* EISDIR: a kernel or file system that takes it for an ordinary open. */
	if (f->fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return f->fd < 0 ? -errno : 0;
	r = temporary_name(f);
	if (r < 0)
		return r;
	f->fd = openat(
		f->dirfd, f->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->fd >= 0)
		return 0;
	r = -errno;
	f->temporary[0] = '\0';
	return r;
}

static int link_nameless(const struct new_file *f, const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	return linkat(AT_FDCWD, path, f->dirfd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* Some file systems have hard links (NFS), some RENAME_NOREPLACE (FAT); one of them is enough. */
static int rename_new(struct new_file *f)
{
	if (renameat2(f->dirfd, f->temporary, f->dirfd, f->name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(f->dirfd, f->temporary, f->dirfd, f->name, 0) < 0)
		return -errno;
	unlinkat(f->dirfd, f->temporary, 0);
	return 0;
}

int new_file_commit(struct new_file *f, bool replace)
{
	int r = fsync(f->fd) < 0 ? -errno : 0;

	if (r == 0 && replace && !f->temporary[0]) {
		r = temporary_name(f);
		if (r == 0)
			r = link_nameless(f, f->temporary);
	}
	if (r == 0 && replace && renameat(f->dirfd, f->temporary, f->dirfd, f->name) < 0)
		r = -errno;
	else if (r == 0 && !replace)
		r = f->temporary[0] ? rename_new(f) : link_nameless(f, f->name);
	if (r == 0)
		f->temporary[0] = '\0';
	new_file_discard(f);
	return r;
}

void new_file_discard(struct new_file *f)
{
	if (f->temporary[0])
		unlinkat(f->dirfd, f->temporary, 0);
	f->temporary[0] = '\0';
	cleanup_close(&f->fd);
}

void new_file_close(struct new_file *f)
{
	new_file_discard(f);
	cleanup_close(&f->dirfd);
	free(TAKE_PTR(f->name));
}
