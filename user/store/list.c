/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/name.h"
#include "store/store.h"
#include "store/tree.h"

#define TIME_LENGTH 16 /* of "20261123T090000Z" */

/* The newest first. The name tells seconds only; within one, the files' times decide. */
static int by_age(const void *a, const void *b)
{
	const struct store_item *x = a, *y = b;
	int r = strncmp(y->id, x->id, TIME_LENGTH);

	if (r)
		return r;
	if (x->modified_ns != y->modified_ns)
		return x->modified_ns < y->modified_ns ? 1 : -1;
	return strcmp(y->id, x->id);
}

/* Fills ITEM from the capture's directory. -ENOENT, -ENOTDIR, -ELOOP: it is none (any more). */
static int measure(int storefd, const char *id, struct store_item *item)
{
	_cleanup_close_ int fd = tree_open(storefd, id);
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	*item = (struct store_item){};
	memcpy(item->id, id, strlen(id) + 1); /* valid, so it fits */
	dir = tree_stream(fd);
	if (!dir || fstat(fd, &st) < 0)
		return -errno;
	item->modified_ns =
		(uint64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec;
	while ((r = tree_next(dir, &d)) > 0)
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			item->bytes += (uint64_t)st.st_blocks * 512;
	return r;
}

static int append(struct store_items *items, const struct store_item *item)
{
	if ((items->n & (items->n - 1)) == 0) { /* grows at each power of two */
		void *v = reallocarray(items->v, items->n ? items->n * 2 : 1, sizeof(*items->v));

		if (!v)
			return -ENOMEM;
		items->v = v;
	}
	items->v[items->n++] = *item;
	return 0;
}

int store_list(const struct store *s, struct store_items *out)
{
	_cleanup_store_items_ struct store_items items = {};
	_cleanup_closedir_ DIR *dir = tree_stream(s->dirfd);
	struct dirent *d;
	int r;

	if (!dir)
		return -errno;
	while ((r = tree_next(dir, &d)) > 0) {
		struct store_item item;

		if (!store_name_valid(d->d_name))
			continue;
		r = measure(s->dirfd, d->d_name, &item);
		if (r == 0)
			r = append(&items, &item);
		else if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
			r = 0;
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (items.n)
		qsort(items.v, items.n, sizeof(*items.v), by_age);
	*out = items;
	items = (struct store_items){};
	return 0;
}

void store_items_free(struct store_items *items)
{
	free(TAKE_PTR(items->v));
	items->n = 0;
}

int store_find(const struct store *s, const char *which, char id[STORE_ID_MAX])
{
	_cleanup_store_items_ struct store_items items = {};
	const struct store_item *found = NULL;
	int r = store_list(s, &items);

	if (r < 0)
		return r;
	for (size_t i = 0; i < items.n; i++) {
		const struct store_item *item = &items.v[i];

		if (!strcmp(item->id, which) || !strcmp(which, "latest")) {
			found = item;
			break;
		}
		if (!*which || strncmp(item->id, which, strlen(which)) != 0)
			continue;
		if (found)
			r = -ENOTUNIQ; /* unless it turns out to be one's whole name */
		found = item;
	}
	if (!found)
		return -ENOENT;
	if (r < 0 && strcmp(found->id, which) != 0)
		return r;
	snprintf(id, STORE_ID_MAX, "%s", found->id);
	return 0;
}

int store_open_file(const struct store *s, const char *id, const char *name)
{
	_cleanup_close_ int dirfd = -1, fd = -1;
	struct stat st;

	if (!store_name_valid(id) || strchr(name, '/'))
		return -ENOENT;
	dirfd = tree_open(s->dirfd, id);
	if (dirfd < 0)
		return dirfd;
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EBADMSG;
}

int store_load(const struct store *s, const char *id, json_t **incident)
{
	_cleanup_close_ int fd = store_open_file(s, id, STORE_INCIDENT);
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > STORE_INCIDENT_MAX)
		return -E2BIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	n = io_read_upto(fd, text, (size_t)st.st_size);
	if (n < 0)
		return (int)n;
	j = json_loadb(text, (size_t)n, 0, NULL);
	if (!json_is_object(j))
		return -EBADMSG;
	*incident = TAKE_PTR(j);
	return 0;
}
