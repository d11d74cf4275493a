/* SPDX-License-Identifier: MIT */
#include "cli/in_flight_queue.h"

#include <errno.h>
#include <stdlib.h>

#include "cli/room.h"

void in_flight_queue_clear(struct in_flight_queue *q)
{
	for (size_t i = 0; i < q->trip_count; i++) {
		if (q->trips[i].kind == TRIP_REQUEST) {
			free(q->trips[i].request.stack);
			free(q->trips[i].request.peers);
		}
	}
	q->trip_count = q->trip_next = 0;
	q->blind_count = q->blind_next = 0;
}

void in_flight_queue_free(struct in_flight_queue *q)
{
	in_flight_queue_clear(q);
	free(q->trips);
	free(q->blind);
	*q = (struct in_flight_queue){};
}

struct in_flight_trip *in_flight_queue_add(struct in_flight_queue *q)
{
	void *v = q->trips;
	bool has_room = room_for_one(&v, q->trip_count, &q->trip_room, sizeof(*q->trips));

	q->trips = v;
	return has_room ? &q->trips[q->trip_count++] : NULL;
}

void in_flight_queue_add_blind(struct in_flight_queue *q, const struct in_flight_blind *blind)
{
	void *v = q->blind;
	bool has_room = room_for_one(&v, q->blind_count, &q->blind_room, sizeof(*q->blind));

	q->blind = v;
	if (has_room)
		q->blind[q->blind_count++] = *blind;
}

bool in_flight_queue_next(struct in_flight_queue *q, struct in_flight_trip *out)
{
	if (q->trip_next == q->trip_count)
		return false;
	*out = q->trips[q->trip_next++];
	return true;
}

bool in_flight_queue_next_blind(struct in_flight_queue *q, struct in_flight_blind *out)
{
	if (q->blind_next == q->blind_count)
		return false;
	*out = q->blind[q->blind_next++];
	return true;
}

int in_flight_keys_init(struct in_flight_keys *k, size_t most)
{
	*k = (struct in_flight_keys){.v = calloc(most ? most : 1, sizeof(*k->v))};
	return k->v ? 0 : -ENOMEM;
}

void in_flight_keys_free(struct in_flight_keys *k)
{
	free(k->v);
	*k = (struct in_flight_keys){};
}

static struct in_flight_key key_of(const struct request *r)
{
	return (struct in_flight_key){r->cookie, r->number, r->bytes_in};
}

static int compare(const void *a, const void *b)
{
	const struct in_flight_key *x = a, *y = b;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return (x->bytes_in > y->bytes_in) - (x->bytes_in < y->bytes_in);
}

void in_flight_keys_add(struct in_flight_keys *k, const struct request *r)
{
	k->v[k->n++] = key_of(r);
}

void in_flight_keys_sort(struct in_flight_keys *k)
{
	qsort(k->v, k->n, sizeof(*k->v), compare);
}

bool in_flight_keys_has(const struct in_flight_keys *k, const struct request *r)
{
	const struct in_flight_key key = key_of(r);

	return k->n && bsearch(&key, k->v, k->n, sizeof(key), compare);
}

int in_flight_waiting_init(struct in_flight_waiting *w, size_t most)
{
	in_flight_waiting_free(w);
	w->v = calloc(most ? most : 1, sizeof(*w->v));
	return w->v ? 0 : -ENOMEM;
}

void in_flight_waiting_free(struct in_flight_waiting *w)
{
	free(w->v);
	*w = (struct in_flight_waiting){};
}

static int compare_waiting(const void *a, const void *b)
{
	const struct request *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return (x->age_ns < y->age_ns) - (x->age_ns > y->age_ns);
}

void in_flight_waiting_sort(struct in_flight_waiting *w)
{
	qsort(w->v, w->n, sizeof(*w->v), compare_waiting);
}

const struct request *in_flight_waiting_of(const struct in_flight_waiting *w, pid_t pid, size_t *n)
{
	size_t low = 0, high = w->n;

	*n = 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->v[middle].pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i < w->n && w->v[i].pid == pid; i++)
		++*n;
	return w->v ? w->v + low : NULL;
}
