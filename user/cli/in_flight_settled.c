/* SPDX-License-Identifier: MIT */
#include "cli/in_flight_settled.h"

#include "cli/in_flight_holder.h"

int in_flight_settled_begin(struct in_flight_settled *s, size_t n)
{
	int r;

	in_flight_keys_free(&s->now_judged);
	in_flight_keys_free(&s->now_put_off);
	r = in_flight_keys_init(&s->now_judged, n);
	return r < 0 ? r : in_flight_keys_init(&s->now_put_off, n);
}

bool in_flight_settled_tells(struct in_flight_settled *s, const struct request *r)
{
	if (!in_flight_keys_has(&s->judged, r)) {
		enum in_flight_claim claim = in_flight_claim(r);

		if (claim == CLAIM_OF_CLIENT)
			return false;
		if (claim == CLAIM_UNSETTLED && !in_flight_keys_has(&s->put_off, r)) {
			in_flight_keys_add(&s->now_put_off, r);
			return false;
		}
	}
	in_flight_keys_add(&s->now_judged, r);
	return true;
}

static void replace(struct in_flight_keys *old, struct in_flight_keys *new)
{
	in_flight_keys_sort(new);
	in_flight_keys_free(old);
	*old = *new;
	*new = (struct in_flight_keys){};
}

void in_flight_settled_end(struct in_flight_settled *s)
{
	replace(&s->judged, &s->now_judged);
	replace(&s->put_off, &s->now_put_off);
}

void in_flight_settled_free(struct in_flight_settled *s)
{
	in_flight_keys_free(&s->judged);
	in_flight_keys_free(&s->put_off);
	in_flight_keys_free(&s->now_judged);
	in_flight_keys_free(&s->now_put_off);
}
