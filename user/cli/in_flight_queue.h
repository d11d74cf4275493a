/* SPDX-License-Identifier: MIT */
/* What in_flight keeps between its passes: the trips to be handed out, and requests that were seen.
 */
#pragma once

#include "cli/in_flight.h"

struct in_flight_queue {
	struct in_flight_trip *trips;
	size_t trip_count, trip_room, trip_next;
	struct in_flight_blind *blind;
	size_t blind_count, blind_room, blind_next;
};

void in_flight_queue_clear(struct in_flight_queue *q);
void in_flight_queue_free(struct in_flight_queue *q);
/* Room for one more, good until the next one; NULL without memory. */
struct in_flight_trip *in_flight_queue_add(struct in_flight_queue *q);
void in_flight_queue_add_blind(struct in_flight_queue *q, const struct in_flight_blind *blind);
bool in_flight_queue_next(struct in_flight_queue *q, struct in_flight_trip *out);
bool in_flight_queue_next_blind(struct in_flight_queue *q, struct in_flight_blind *out);

/* Requests by their keys. */
struct in_flight_keys {
	struct in_flight_key {
		uint64_t cookie, number, bytes_in;
	} * v;
	size_t n;
};

/* For MOST of them; 0 or -ENOMEM. */
int in_flight_keys_init(struct in_flight_keys *k, size_t most);
void in_flight_keys_free(struct in_flight_keys *k);
void in_flight_keys_add(struct in_flight_keys *k, const struct request *r);
/* Once all are in it, and before the first question. */
void in_flight_keys_sort(struct in_flight_keys *k);
/* It was there, and no more of it has come since. */
bool in_flight_keys_has(const struct in_flight_keys *k, const struct request *r);

/* Requests that wait, by process, the oldest first. */
struct in_flight_waiting {
	struct request *v;
	size_t n;
};

/* Room for MOST in place of what was there; 0 or -ENOMEM. */
int in_flight_waiting_init(struct in_flight_waiting *w, size_t most);
void in_flight_waiting_free(struct in_flight_waiting *w);
void in_flight_waiting_sort(struct in_flight_waiting *w);
/* Those of one process: *N of them. */
const struct request *in_flight_waiting_of(const struct in_flight_waiting *w, pid_t pid, size_t *n);
