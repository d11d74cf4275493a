/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "store/name.h"
#include "store/tree.h"

/* Whether only root, we, and (in a sticky directory) the owner can put something else in place of
 * what lies here. */
static bool holds_names(const struct stat *st)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return false;
	return !(st->st_mode & (S_IWGRP | S_IWOTH)) || (st->st_mode & S_ISVTX);
}

/* Opens the directory NAME on the way to the store. Links are followed where others cannot have
 * made them. */
static int enter(int at, const char *name, bool create)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (create && mkdirat(at, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode) && st.st_uid != 0 && st.st_uid != geteuid())
		return -ELOOP;
	fd = openat(at, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return holds_names(&st) ? TAKE_FD(fd) : -EACCES;
}

/* Opens the last component. O_PATH first, since O_DIRECTORY | O_NOFOLLOW says ENOTDIR for a link
 * too. */
static int enter_store(int at, const char *name, bool create)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int dirfd;

	if (create && mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return S_ISLNK(st.st_mode) ? -ELOOP : -ENOTDIR;
	if (st.st_uid != geteuid())
		return -EPERM;
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return -EACCES;
	dirfd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd < 0 ? -errno : dirfd;
}

/* Closes a store that others can look into, if it is nothing but a store: -o may name any
 * directory, and taking /etc or a home away from everybody is not ours to do. The captures in it
 * are 0700 by themselves. */
static int tighten(int dirfd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	struct stat st;
	int r;

	if (fstat(dirfd, &st) < 0)
		return -errno;
	if (!(st.st_mode & 077))
		return 0;
	dir = tree_stream(dirfd);
	if (!dir)
		return -errno;
	while ((r = tree_next(dir, &d)) > 0)
		if (!store_name_valid(d->d_name) && !store_name_is_temporary(d->d_name))
			return 0;
	if (r == 0 && fchmod(dirfd, 0700) < 0)
		r = -errno;
	return r;
}

/* PATH from the root on, without empty parts and "."; ".." stays, since a link may stand before it.
 */
static char *absolute(const char *path)
{
	_cleanup_free_ char *cwd = *path == '/' ? NULL : get_current_dir_name();
	_cleanup_free_ char *copy = NULL, *out = NULL;
	char *rest = NULL, *end;

	if ((*path != '/' && !cwd) || asprintf(&copy, "%s/%s", cwd ? cwd : "", path) < 0)
		return NULL;
	out = malloc(strlen(copy) + 2);
	if (!out)
		return NULL;
	end = stpcpy(out, "/");
	for (char *part = strtok_r(copy, "/", &rest); part; part = strtok_r(NULL, "/", &rest))
		if (strcmp(part, ".") != 0)
			end = stpcpy(stpcpy(end, end == out + 1 ? "" : "/"), part);
	return TAKE_PTR(out);
}

static int walk(const char *path, bool create)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int at = open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *rest = NULL, *name, *next;

	if (!copy)
		return -ENOMEM;
	if (at < 0)
		return -errno;
	name = strtok_r(copy, "/", &rest);
	if (!name)
		return -EINVAL;
	while ((next = strtok_r(NULL, "/", &rest))) {
		int fd = enter(at, name, create);

		if (fd < 0)
			return fd;
		close(at);
		at = fd;
		name = next;
	}
	return enter_store(at, name, create);
}

int store_open(const char *path, bool create, struct store *out)
{
	_cleanup_store_ struct store s = STORE_NONE;
	int r;

	path = path ? path : STORE_DEFAULT_PATH;
	s.dirfd = walk(path, create);
	if (s.dirfd < 0)
		return s.dirfd;
	if (create) {
		r = tighten(s.dirfd);
		if (r < 0)
			return r;
	}
	s.path = absolute(path);
	if (!s.path)
		return -ENOMEM;
	*out = s;
	s = STORE_NONE;
	return 0;
}

void store_close(struct store *s)
{
	cleanup_close(&s->dirfd);
	free(TAKE_PTR(s->path));
}

const char *store_strerror(int error)
{
	switch (abs(error)) {
	case ENOENT:
		return "no such directory";
	case ELOOP:
		return "a symbolic link stands in the way";
	case ENOTDIR:
		return "not a directory";
	case EPERM:
		return "belongs to another user";
	case EACCES:
		return "others may write to it, or to a directory above it";
	case EROFS:
		return "the file system is read-only";
	case ENOSPC:
		return "no space left";
	case ENOTUNIQ:
		return "more than one capture begins so";
	case E2BIG:
		return "larger than an incident may be";
	case EBADMSG:
		return "damaged";
	case EINVAL:
		return "not a name for a store";
	default:
		return strerror(abs(error));
	}
}

int store_space(const struct store *s, uint64_t *available, uint64_t *total)
{
	struct statvfs v;

	if (fstatvfs(s->dirfd, &v) < 0)
		return -errno;
	*available = (uint64_t)v.f_bavail * v.f_frsize;
	*total = (uint64_t)v.f_blocks * v.f_frsize;
	return 0;
}

int store_check_space(const struct store *s, uint64_t need, uint64_t keep_free)
{
	struct statvfs v;
	uint64_t available;

	if (fstatvfs(s->dirfd, &v) < 0)
		return -errno;
	if (v.f_flag & ST_RDONLY)
		return -EROFS;
	available = (uint64_t)v.f_bavail * v.f_frsize;
	return available >= keep_free && available - keep_free >= need ? 0 : -ENOSPC;
}
