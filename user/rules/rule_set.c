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

uint64_t rule_set_trees(const struct rule_set *s)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].who.tree)
			mask |= 1ULL << i;
	return mask;
}

uint64_t rule_set_sampling(const struct rule_set *s)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].armed)
			mask |= 1ULL << i;
	return mask;
}

uint64_t rule_set_serving(const struct rule_set *s)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		if (rule_wants_requests(&s->v[i]) || s->v[i].unread_ns)
			mask |= 1ULL << i;
	return mask;
}

uint64_t rule_set_entering(const struct rule_set *s)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].functions.n)
			mask |= 1ULL << i;
	return mask;
}

uint64_t rule_set_stalling(const struct rule_set *s)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].stall_ns)
			mask |= 1ULL << i;
	return mask;
}

uint64_t rule_set_exiting(const struct rule_set *s)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].exit != EXIT_WISH_NONE)
			mask |= 1ULL << i;
	return mask;
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
