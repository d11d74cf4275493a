/* SPDX-License-Identifier: MIT */
/* Which of the slow requests of a scan wait for nobody but their process. */
#pragma once

#include "cli/in_flight_queue.h"

struct in_flight_settled {
	struct in_flight_keys judged;  /* of the last scan: wait for the process */
	struct in_flight_keys put_off; /* and those that were not told yet */
	struct in_flight_keys now_judged, now_put_off;
};

/* Begins a scan that found N of them; 0 or -ENOMEM. */
int in_flight_settled_begin(struct in_flight_settled *s, size_t n);
/* A request that a client still sends is not told. What may have got more of itself just now, which
 * nobody had the time to read or to look at, is told by the next scan if nothing was read by then:
 * what else comes meanwhile is no reason, or a client could keep a stuck server from being told. */
bool in_flight_settled_tells(struct in_flight_settled *s, const struct request *r);
void in_flight_settled_end(struct in_flight_settled *s);
void in_flight_settled_free(struct in_flight_settled *s);
