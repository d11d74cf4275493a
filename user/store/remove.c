/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "store/name.h"
#include "store/store.h"
#include "store/tree.h"

/* Removes the temporary directory NAME if its writer is dead: 1, 0 when somebody is at it, -errno.
 */
static int recover_one(int storefd, const char *name)
{
	_cleanup_close_ int fd = tree_open(storefd, name);
	int r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = tree_lock(fd);
	if (r < 0)
		return r == -EWOULDBLOCK ? 0 : r;
	/* It may have been published, and let go, between the opening and the lock. Now that the
	 * lock is ours no writer is left who could. */
	if (!tree_is(storefd, name, fd))
		return 0;
	r = tree_clear(fd);
	if (r < 0)
		return r;
	if (unlinkat(storefd, name, AT_REMOVEDIR) < 0)
		return errno == ENOENT ? 0
				       : -errno; /* published or removed since the name was read */
	return 1;
}

int store_recover(const struct store *s)
{
	_cleanup_closedir_ DIR *dir = tree_stream(s->dirfd);
	struct dirent *d;
	int count = 0, first = 0, r;

	if (!dir)
		return -errno;
	while ((r = tree_next(dir, &d)) > 0) {
		int q;

		if (!store_name_is_temporary(d->d_name))
			continue;
		q = recover_one(s->dirfd, d->d_name);
		if (q < 0)
			first = first ? first : q;
		else
			count += q;
	}
	if (r < 0)
		return r;
	return first ? first : count;
}

int store_remove(const struct store *s, const char *id)
{
	_cleanup_close_ int fd = -1;
	char temporary[STORE_TEMPORARY_MAX];
	int r;

	if (!store_name_valid(id))
		return -ENOENT;
	fd = tree_open(s->dirfd, id);
	if (fd < 0)
		return fd;
	r = tree_lock(fd);
	if (r < 0)
		return r == -EWOULDBLOCK ? -EBUSY : r;
	/* Under its temporary name it is not listed any more, and a removal that is cut short is
	 * finished by the next recovery. */
	store_name_temporary(id, temporary);
	if (renameat2(s->dirfd, id, s->dirfd, temporary, RENAME_NOREPLACE) < 0)
		return -errno;
	r = tree_clear(fd);
	if (r < 0)
		return r;
	return unlinkat(s->dirfd, temporary, AT_REMOVEDIR) < 0 ? -errno : 0;
}
