/* SPDX-License-Identifier: MIT */
/* What the rules together want of the probe of requests, and how often it is to be asked. Pure. */
#pragma once

#include "probe/requests.h"
#include "rules/rule_set.h"

struct in_flight_plan {
	struct requests_options options; /* but for the probe */
	bool scans;			 /* what waits is to be looked at, not only answers */
	uint64_t unread_interval_ns;	 /* 0: no rule asks what lies unread */
	uint64_t interval_ns;		 /* less than a second */
};

void in_flight_plan(const struct rule_set *rules, struct in_flight_plan *out);
