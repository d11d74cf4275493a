/* SPDX-License-Identifier: MIT */
#include "store/retention.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "store/name.h"

static uint64_t share(uint64_t bytes, unsigned int percent)
{
	return bytes / 100 * percent;
}

/* 0 is no bound. */
static uint64_t least(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

int retention_of(const struct host_limits *limits, const struct store *s, struct retention *out)
{
	const struct limit_amount *most = &limits->store_size, *unused = &limits->store_free;
	uint64_t available, size, unused_share;
	int r = store_space(s, &available, &size);

	if (r < 0)
		return r;
	unused_share = share(size, unused->per_cent);
	*out = (struct retention){
		.max_bytes = least(most->bytes, share(size, most->per_cent)),
		.keep_free = unused->bytes > unused_share ? unused->bytes : unused_share,
	};
	return 0;
}

static uint64_t total(const struct store_items *items)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < items->n; i++)
		bytes += items->v[i].bytes;
	return bytes;
}

/* How many captures there are of the process name of ITEM. */
static size_t siblings(const struct store_items *items, const struct store_item *item)
{
	size_t length, other, n = 0;
	const char *comm = store_name_comm(item->id, &length);

	for (size_t i = 0; i < items->n; i++) {
		const char *c = store_name_comm(items->v[i].id, &other);

		n += other == length && strncmp(c, comm, length) == 0;
	}
	return n;
}

static size_t oldest_of_the_most(const struct store_items *items)
{
	size_t most = 0, chosen = items->n;

	for (size_t i = items->n; i-- > 0;) {
		size_t n = siblings(items, &items->v[i]);

		if (n > most) {
			most = n;
			chosen = i;
		}
	}
	return chosen;
}

size_t retention_choose(const struct retention *r, const struct store_items *items,
	uint64_t available, uint64_t now_ns)
{
	const struct store_item *last = items->n ? &items->v[items->n - 1] : NULL;

	if (!last)
		return items->n;
	if (r->max_age_ns && now_ns > last->modified_ns &&
		now_ns - last->modified_ns > r->max_age_ns)
		return items->n - 1;
	if ((r->max_count && items->n > r->max_count) ||
		(r->max_bytes && total(items) > r->max_bytes) || available < r->keep_free)
		return oldest_of_the_most(items);
	return items->n;
}

static void forget(struct store_items *items, size_t i)
{
	memmove(&items->v[i], &items->v[i + 1], (items->n - i - 1) * sizeof(*items->v));
	items->n--;
}

int retention_apply(const struct store *s, const struct retention *r,
	void (*name)(void *arg, const char *id), void *arg)
{
	_cleanup_store_items_ struct store_items items = {0};
	uint64_t available, size;
	int gone = 0, e = store_list(s, &items);

	while (e == 0) {
		size_t i;

		e = store_space(s, &available, &size);
		if (e < 0)
			break;
		i = retention_choose(r, &items, available, clock_now_ns(CLOCK_REALTIME));
		if (i == items.n)
			return gone;
		e = store_remove(s, items.v[i].id);
		if (e == 0 && name)
			name(arg, items.v[i].id);
		gone += e == 0;
		/* In use, or gone already: the next one, then. */
		if (e == -EBUSY || e == -ENOENT)
			e = 0;
		forget(&items, i);
	}
	return e;
}
