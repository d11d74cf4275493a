/* SPDX-License-Identifier: MIT */
#include "rules/unread.h"

#include <errno.h>
#include <stdlib.h>

struct held {
	uint64_t inode, position;
	uint64_t since_ns;
};

struct unread_state {
	struct held *v; /* of the last pass, sorted by inode */
	size_t n;
};

int unread_state_new(struct unread_state **out)
{
	struct unread_state *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*out = s;
	return 0;
}

void unread_state_free(struct unread_state *s)
{
	if (!s)
		return;
	free(s->v);
	free(s);
}

static int compare_inodes(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* Since when nothing was taken from it. */
static uint64_t since(const struct unread_state *s, const struct unread *u, uint64_t now_ns)
{
	const struct held key = {.inode = u->inode};
	const struct held *old =
		s->n ? bsearch(&key, s->v, s->n, sizeof(key), compare_inodes) : NULL;

	return old && old->position == u->position ? old->since_ns : now_ns;
}

int unread_state_pass(struct unread_state *s, const struct unread *sockets, size_t n,
	uint64_t now_ns, const struct unread **worst, uint64_t *held_ns)
{
	struct held *v = calloc(n ? n : 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	*worst = NULL;
	*held_ns = 0;
	for (size_t i = 0; i < n; i++) {
		v[i].inode = sockets[i].inode;
		v[i].position = sockets[i].position;
		v[i].since_ns = since(s, &sockets[i], now_ns);
		if (*worst && now_ns - v[i].since_ns <= *held_ns)
			continue;
		*worst = &sockets[i];
		*held_ns = now_ns - v[i].since_ns;
	}
	qsort(v, n, sizeof(*v), compare_inodes);
	free(s->v);
	s->v = v;
	s->n = n;
	return 0;
}
