/* SPDX-License-Identifier: MIT */
#include "rules/status.h"

static const char *const names[] = {
	[STATUS_ARMED] = "armed",
	[STATUS_BREACHING] = "breaching",
	[STATUS_COOLING] = "cooling",
	[STATUS_SPENT] = "spent",
};

const char *status_phase_name(enum status_phase phase)
{
	return names[phase];
}

struct status status_of(const struct rule *r, const struct ledger *l, const struct trip *process,
	const struct breach_reading *reading, const struct clock_pair *now)
{
	struct status s = {};

	s.reason = rule_refusal(r, l, process, now, &s.until_ns);
	if (s.reason) {
		s.phase = s.until_ns == RULE_NEVER_FREE ? STATUS_SPENT : STATUS_COOLING;
		return s;
	}
	s.until_ns = 0;
	if (reading && reading->phase != BREACH_ARMED) {
		s.phase = STATUS_BREACHING;
		/* What it tripped on begins anew with the measure. */
		s.since_ns = (int64_t)(reading->phase == BREACH_TRIPPED
					       ? reading->time_ns
					       : reading->time_ns - reading->held_ns);
	}
	return s;
}
