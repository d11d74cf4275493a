/* SPDX-License-Identifier: MIT */
#include "rules/rule.h"

#include "lib/signals.h"

void rule_free(struct rule *r)
{
	who_free(&r->who);
	actions_free(&r->before);
	actions_free(&r->then);
}

bool rule_trips(const struct rule *r, const struct event *e)
{
	switch (e->kind) {
	case EVENT_DEATH:
		return r->fatal_signals & SIGNAL_BIT(e->signal.number);
	case EVENT_FIRST_CHANCE:
		return r->first_chance & SIGNAL_BIT(e->signal.number);
	default:
		return false;
	}
}

/* A death by a signal that leaves no core, and a signal that a handler took, leave nothing that
 * could be captured. */
static const char *nothing_to_capture(const struct event *e)
{
	if (e->kind == EVENT_FIRST_CHANCE)
		return "handled";
	if (!(signals_core_mask() & SIGNAL_BIT(e->signal.number)))
		return "memory-gone";
	return NULL;
}

struct decision rule_decide(
	const struct rule *r, struct rule_state *state, const struct event *e, uint64_t now_ns)
{
	struct decision d = {.rule = r->name, .what = &r->what};

	if (rule_is_spent(r, state))
		d.skip_reason = "count-reached";
	else if (r->every_ns && state->last_ns && now_ns - state->last_ns < r->every_ns)
		d.skip_reason = "too-soon";
	else if (!r->observe && r->what.kind != CORE_NONE)
		d.skip_reason = nothing_to_capture(e);
	if (d.skip_reason)
		return d;
	state->started++;
	state->last_ns = now_ns;
	d.capture = !r->observe && r->what.kind != CORE_NONE;
	if (r->observe)
		d.skip_reason = "observe";
	return d;
}

void rule_give_back(struct rule_state *state)
{
	if (state->started)
		state->started--;
}

bool rule_is_spent(const struct rule *r, const struct rule_state *state)
{
	return r->count && state->started >= r->count;
}
