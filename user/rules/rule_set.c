/* SPDX-License-Identifier: MIT */
#include "rules/rule_set.h"

uint64_t rule_set_matching(const struct rule_set *s, const struct identity *id)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		if (who_matches(&s->v[i].who, id))
			mask |= 1ULL << i;
	return mask;
}

static uint64_t all_that(const struct rule_set *s, bool (*is)(const struct rule *r))
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		if (is(&s->v[i]))
			mask |= 1ULL << i;
	return mask;
}

static bool has_tree(const struct rule *r)
{
	return r->who.tree;
}

uint64_t rule_set_trees(const struct rule_set *s)
{
	return all_that(s, has_tree);
}

static bool samples(const struct rule *r)
{
	return r->armed;
}

uint64_t rule_set_sampling(const struct rule_set *s)
{
	return all_that(s, samples);
}

static bool serves(const struct rule *r)
{
	return rule_wants_requests(r) || r->unread_ns;
}

uint64_t rule_set_serving(const struct rule_set *s)
{
	return all_that(s, serves);
}

static bool enters(const struct rule *r)
{
	return r->functions.n;
}

uint64_t rule_set_entering(const struct rule_set *s)
{
	return all_that(s, enters);
}

static bool stalls(const struct rule *r)
{
	return r->stall_ns;
}

uint64_t rule_set_stalling(const struct rule_set *s)
{
	return all_that(s, stalls);
}

static bool exits(const struct rule *r)
{
	return r->exit != EXIT_WISH_NONE;
}

uint64_t rule_set_exiting(const struct rule_set *s)
{
	return all_that(s, exits);
}

uint64_t rule_set_fatal_signals(const struct rule_set *s)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		mask |= s->v[i].fatal_signals;
	return mask;
}

uint64_t rule_set_first_chance(const struct rule_set *s)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		mask |= s->v[i].first_chance;
	return mask;
}

bool rule_set_are_pids_only(const struct rule_set *s, uint64_t mask)
{
	for (size_t i = 0; rule_set_next(mask, &i); i++)
		if (!who_is_pids_only(&s->v[i].who))
			return false;
	return true;
}

bool rule_set_is_pids_only(const struct rule_set *s)
{
	return rule_set_are_pids_only(s, s->n == 64 ? ~0ULL : (1ULL << s->n) - 1);
}

bool rule_set_has_all(const struct rule_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].who.all)
			return true;
	return false;
}

bool rule_set_is_changeable(const struct rule_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (who_is_changeable(&s->v[i].who))
			return true;
	return false;
}

bool rule_set_next(uint64_t mask, size_t *at)
{
	while (*at < 64 && !(mask >> *at & 1))
		(*at)++;
	return *at < 64;
}
