/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inside_parts.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define FOUND_MAX	1024 /* files times functions that are remembered */
#define IMPATIENT_MS	1000
#define READ_AT_ONCE_NS (1 * NSEC_PER_SEC) /* before the share counts */
#define READ_SHARE	10		   /* a tenth of the time */

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void free_found(struct inside_found *f)
{
	if (!f)
		return;
	free(f->v);
	free(f->why);
	free(f);
}

/* What was found before comes to the front. */
static const struct inside_found *get(
	struct inside_looks *looks, const struct function_wish *wish, const struct stat *file)
{
	struct inside_found **at = &looks->found, *f;

	while (*at && ((*at)->wish != wish || !is_same(&(*at)->file, file)))
		at = &(*at)->next;
	f = *at;
	if (!f)
		return NULL;
	*at = f->next;
	f->next = looks->found;
	looks->found = f;
	return f;
}

/* The one that was asked for longest ago is forgotten. */
static void forget_last(struct inside_looks *looks)
{
	struct inside_found **at = &looks->found;
	size_t n = 0;

	for (; *at && n < FOUND_MAX; n++)
		at = &(*at)->next;
	free_found(TAKE_PTR(*at));
}

/* Also that it is not there: a file is read once. Without memory it is read again. */
static void remember(struct inside_looks *looks, const struct function_wish *wish,
	const struct stat *file, int error)
{
	const struct places *p = &looks->places;
	struct inside_found *f = calloc(1, sizeof(*f));

	if (!f)
		return;
	*f = (struct inside_found){.wish = wish, .file = *file, .error = error, .n = p->n};
	f->v = calloc(p->n + 1, sizeof(*f->v));
	f->why = strdup(p->why);
	if (!f->v || !f->why) {
		free_found(f);
		return;
	}
	memcpy(f->v, p->v, p->n * sizeof(*f->v));
	f->next = looks->found;
	looks->found = f;
	forget_last(looks);
}

static int recall(struct inside_looks *looks, const struct inside_found *f)
{
	struct places *p = &looks->places;

	*p = (struct places){.n = f->n, .error = f->error};
	memcpy(p->v, f->v, f->n * sizeof(*p->v));
	memcpy(p->why, f->why, strlen(f->why) + 1);
	return f->error;
}

bool inside_may_read(uint64_t begun_ns, uint64_t read_ns, uint64_t now_ns)
{
	return read_ns < READ_AT_ONCE_NS + (now_ns - begun_ns) / READ_SHARE;
}

/* A failure that was one of the moment is not remembered. */
int inside_find_places(struct inside_looks *looks, const struct function_wish *wish, int fd,
	bool patient, const struct places **out)
{
	const struct places_wish what = {.fd = fd,
		.provider = wish->provider,
		.name = wish->name,
		.end = wish->end,
		.argument = wish->argument,
		.timeout_ms = patient ? PLACES_PATIENT_MS : IMPATIENT_MS};
	const struct inside_found *known;
	struct stat file;
	uint64_t begun;
	int r;

	if (fstat(fd, &file) < 0)
		return -errno;
	known = get(looks, wish, &file);
	*out = &looks->places;
	if (known)
		return recall(looks, known);
	begun = clock_now_ns(CLOCK_BOOTTIME);
	if (!patient && !inside_may_read(looks->begun_ns, looks->read_ns, begun))
		return -EAGAIN;
	r = places_find(&what, &looks->places);
	looks->read_ns += clock_now_ns(CLOCK_BOOTTIME) - begun;
	if (!inside_error_passes(r))
		remember(looks, wish, &file, r);
	return r;
}

void inside_looks_free(struct inside_looks *looks)
{
	for (struct inside_found *f = looks->found, *next; f; f = next) {
		next = f->next;
		free_found(f);
	}
	looks->found = NULL;
}
