/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/name.h"
#include "store/store.h"
#include "store/tree.h"

/* 65,536 ids for the same program, pid and second: more tries mean something else is wrong. */
#define RESERVE_TRIES 64

/* Makes and locks the temporary directory of ID. -EEXIST: the id is taken. */
static int reserve(int storefd, const char *id, int *dirfd)
{
	_cleanup_close_ int fd = -1;
	char temporary[STORE_TEMPORARY_MAX];

	store_name_temporary(id, temporary);
	if (mkdirat(storefd, temporary, 0700) < 0)
		return -errno;
	fd = tree_open(storefd, temporary);
	if (fd < 0)
		return fd == -ENOENT ? -EEXIST : fd;
	/* Between mkdir and lock a recovery may take it for a leftover: then this id is not ours.
	 */
	if (tree_lock(fd) < 0 || !tree_is(storefd, temporary, fd))
		return -EEXIST;
	/* Whoever published this id before held the same temporary name, so from here on the answer
	 * cannot change. */
	if (faccessat(storefd, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		unlinkat(storefd, temporary, AT_REMOVEDIR);
		return -EEXIST;
	}
	*dirfd = TAKE_FD(fd);
	return 0;
}

int store_begin(const struct store *s, const struct store_name *name, struct store_entry *out)
{
	_cleanup_store_entry_ struct store_entry e = STORE_ENTRY_NONE;
	int r = -EEXIST;

	for (int i = 0; r == -EEXIST && i < RESERVE_TRIES; i++) {
		uint16_t salt;

		if (getrandom(&salt, sizeof(salt), GRND_NONBLOCK) != sizeof(salt))
			return -errno;
		store_name_format(name, salt, e.id);
		r = reserve(s->dirfd, e.id, &e.dirfd);
	}
	if (r < 0)
		return r;
	e.storefd = fcntl(s->dirfd, F_DUPFD_CLOEXEC, 0);
	if (e.storefd < 0) {
		char temporary[STORE_TEMPORARY_MAX];

		r = -errno;
		store_name_temporary(e.id, temporary);
		unlinkat(s->dirfd, temporary, AT_REMOVEDIR);
		return r;
	}
	if (asprintf(&e.path, "%s/%s", s->path, e.id) < 0) {
		e.path = NULL;
		return -ENOMEM;
	}
	*out = e;
	e = STORE_ENTRY_NONE;
	return 0;
}

int store_entry_create_file(const struct store_entry *e, const char *name, int *fd)
{
	int new = openat(e->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (new < 0)
		return -errno;
	*fd = new;
	return 0;
}

static int write_incident(const struct store_entry *e, const json_t *incident)
{
	_cleanup_free_ char *text = json_dumps(incident, JSON_INDENT(1) | JSON_DIGITS);
	_cleanup_close_ int fd = -1;
	size_t len;
	int r;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	if (len >= STORE_INCIDENT_MAX)
		return -E2BIG;
	text[len] = '\n'; /* in place of the NUL */
	r = store_entry_create_file(e, STORE_INCIDENT, &fd);
	if (r < 0)
		return r;
	return io_write_all(fd, text, len + 1);
}

/* A descriptor opened now still reports a write-back error that nobody has seen (lib/errseq.c,
 * errseq_sample), so the writers' own descriptors are not needed. */
static int sync_files(int dirfd)
{
	_cleanup_closedir_ DIR *dir = tree_stream(dirfd);
	struct dirent *d;
	int r;

	if (!dir)
		return -errno;
	while ((r = tree_next(dir, &d)) > 0) {
		_cleanup_close_ int fd =
			openat(dirfd, d->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

		if (fd < 0 || fsync(fd) < 0)
			return -errno;
	}
	if (r < 0)
		return r;
	return fsync(dirfd) < 0 ? -errno : 0;
}

int store_publish(struct store_entry *e, const json_t *incident)
{
	char temporary[STORE_TEMPORARY_MAX];
	int r = write_incident(e, incident);

	if (r == 0)
		r = sync_files(e->dirfd);
	store_name_temporary(e->id, temporary);
	if (r == 0 && renameat2(e->storefd, temporary, e->storefd, e->id, RENAME_NOREPLACE) < 0)
		r = -errno;
	else if (r == 0 && fsync(e->storefd) < 0) {
		r = -errno;
		renameat2(e->storefd, e->id, e->storefd, temporary, RENAME_NOREPLACE);
	}
	if (r < 0) {
		unlinkat(e->dirfd, STORE_INCIDENT, 0); /* so that it may be tried again */
		return r;
	}
	cleanup_close(&e->dirfd);
	cleanup_close(&e->storefd);
	return 0;
}

void store_abort(struct store_entry *e)
{
	if (e->storefd >= 0 && e->dirfd >= 0) {
		char temporary[STORE_TEMPORARY_MAX];

		/* What cannot be removed now is left to the next recovery. */
		store_name_temporary(e->id, temporary);
		tree_clear(e->dirfd);
		unlinkat(e->storefd, temporary, AT_REMOVEDIR);
	}
	cleanup_close(&e->dirfd);
	cleanup_close(&e->storefd);
	free(TAKE_PTR(e->path));
}
