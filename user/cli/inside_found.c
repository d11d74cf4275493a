/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "cli/inside_parts.h"
#include "lib/cleanup.h"

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* What was found for WISH, or room for it. */
static struct inside_found *get(struct inside_looks *looks, const struct function_wish *wish)
{
	struct inside_found *f = looks->found;

	while (f && f->wish != wish)
		f = f->next;
	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->places = calloc(1, sizeof(*f->places));
	if (!f->places) {
		free(f);
		return NULL;
	}
	f->wish = wish;
	f->next = looks->found;
	looks->found = f;
	return f;
}

/* A failure that was one of the moment is tried again. */
int inside_find_places(struct inside_looks *looks, const struct function_wish *wish, int fd,
	const struct places **out)
{
	const struct places_wish what = {.fd = fd,
		.provider = wish->provider,
		.name = wish->name,
		.end = wish->end,
		.argument = wish->argument};
	struct inside_found *f = get(looks, wish);
	struct stat file;

	if (!f)
		return -ENOMEM;
	if (fstat(fd, &file) < 0)
		return -errno;
	*out = f->places;
	if (f->places->n && is_same(&file, &f->file))
		return 0;
	f->file = file;
	return places_find(&what, f->places);
}

void inside_looks_free(struct inside_looks *looks)
{
	for (struct inside_found *f = looks->found, *next; f; f = next) {
		next = f->next;
		free(f->places);
		free(f);
	}
	looks->found = NULL;
}
