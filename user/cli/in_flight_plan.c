/* SPDX-License-Identifier: MIT */
#include "cli/in_flight_plan.h"

#include "lib/clock.h"

#define TICK_NS	      (250 * NSEC_PER_MSEC) /* where nothing has to be looked at in time */
#define UNREAD_MIN_NS (50 * NSEC_PER_MSEC)
#define UNREAD_MAX_NS (1 * NSEC_PER_SEC) /* a pass over each process' descriptors has a price */

static void add_requests(struct in_flight_plan *p, const struct request_rule *r)
{
	struct requests_options *o = &p->options;

	if (r->slow_ns && r->slow_ns < o->slow_ns)
		o->slow_ns = r->slow_ns;
	if (r->status_max && (!o->status_max || r->status_min < o->status_min))
		o->status_min = r->status_min;
	if (r->status_max > o->status_max)
		o->status_max = r->status_max;
	o->every_answer |= request_rule_needs_every_answer(r);
	o->count_answers |= r->share && !request_rule_needs_every_answer(r);
	p->scans |= r->slow_ns > 0;
}

static void add_unread(struct in_flight_plan *p, uint64_t unread_ns)
{
	uint64_t tenth = unread_ns / 10;

	tenth = tenth < UNREAD_MIN_NS ? UNREAD_MIN_NS : tenth;
	tenth = tenth > UNREAD_MAX_NS ? UNREAD_MAX_NS : tenth;
	if (!p->unread_interval_ns || tenth < p->unread_interval_ns)
		p->unread_interval_ns = tenth;
}

void in_flight_plan(const struct rule_set *rules, struct in_flight_plan *out)
{
	uint64_t mask = rule_set_serving(rules);

	*out = (struct in_flight_plan){.options.slow_ns = UINT64_MAX};
	for (size_t i = 0; rule_set_next(mask, &i); i++) {
		add_requests(out, &rules->v[i].request);
		if (rules->v[i].unread_ns)
			add_unread(out, rules->v[i].unread_ns);
	}
	out->interval_ns = out->scans ? requests_interval_ns(out->options.slow_ns) : TICK_NS;
	if (out->unread_interval_ns && out->unread_interval_ns < out->interval_ns)
		out->interval_ns = out->unread_interval_ns;
}
