/* SPDX-License-Identifier: MIT */
#include "rules/stall.h"

#include "lib/clock.h"

#define SAMPLES		20 /* in the shortest limit */
#define SAMPLE_MIN_NS	(10 * NSEC_PER_MSEC)
#define SAMPLE_MAX_NS	(250 * NSEC_PER_MSEC)
#define REST_SHARE	4 /* of the limit: between two probes of a process that goes round */
#define REST_MIN_NS	(250 * NSEC_PER_MSEC) /* it is there for some 30 ms each time */
#define SUSPECT_SAMPLES 2		      /* outside, in a row */

void stall_pace(uint64_t limit_ns, uint64_t *interval_ns, uint64_t *rest_ns)
{
	*rest_ns = limit_ns / REST_SHARE;
	if (*rest_ns < REST_MIN_NS)
		*rest_ns = REST_MIN_NS;
	*interval_ns = limit_ns / SAMPLES;
	if (*interval_ns < SAMPLE_MIN_NS)
		*interval_ns = SAMPLE_MIN_NS;
	if (*interval_ns > SAMPLE_MAX_NS)
		*interval_ns = SAMPLE_MAX_NS;
}

/* A thread that sleeps has not been woken as long as it has not gone to sleep once more. */
static bool has_not_moved(const struct stall *s, const struct stall_sample *sample)
{
	const struct stall_sample *last = &s->last;

	return s->outside && last->place == STALL_BLOCKED && sample->place == STALL_BLOCKED &&
	       last->pc == sample->pc && last->sp == sample->sp &&
	       last->switches == sample->switches;
}

/* And what it could be told for has been told. */
static bool sleeps_on(const struct stall *s, uint64_t rules)
{
	return s->told && !(rules & ~s->told) && s->outside && s->still;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Since when it must have been outside, if it is at this sample. */
static uint64_t proven_since(
	const struct stall *s, const struct stall_sample *sample, bool still, uint64_t last_ns)
{
	if (still)
		return s->since_ns;
	if (!s->armed_ns)
		return sample->time_ns;
	/* Whoever was in the wait at any time since could not be outside without having been seen
	 * to come out. */
	if (s->outside && s->armed_ns <= s->last.time_ns)
		return later(s->since_ns, last_ns);
	return later(s->armed_ns, last_ns);
}

void stall_see(
	struct stall *s, const struct stall_sample *sample, uint64_t rounds, uint64_t last_ns)
{
	bool still = has_not_moved(s, sample);
	uint64_t since;

	if (sample->place == STALL_STOPPED) {
		stall_restart(s, sample->time_ns);
		return;
	}
	if (sample->place == STALL_WAITS) {
		*s = (struct stall){.armed_ns = s->armed_ns,
			.rounds = s->rounds,
			.not_before_ns = s->not_before_ns};
		return;
	}
	if (!s->armed_ns)
		rounds = last_ns = 0;
	since = proven_since(s, sample, still, last_ns);
	if (s->armed_ns && rounds != s->rounds)
		s->told = 0;
	s->rounds = rounds;
	s->still = still;
	s->since_ns = later(since, s->not_before_ns);
	s->outside += s->outside < SUSPECT_SAMPLES;
	s->last = *sample;
}

void stall_arm(struct stall *s, uint64_t now_ns)
{
	s->armed_ns = now_ns;
	s->rounds = 0;
}

void stall_disarm(struct stall *s)
{
	s->armed_ns = s->rounds = 0;
}

void stall_restart(struct stall *s, uint64_t now_ns)
{
	s->not_before_ns = now_ns;
	s->outside = 0;
}

bool stall_wants_probe(const struct stall *s, uint64_t rules)
{
	return !s->armed_ns && s->outside >= SUSPECT_SAMPLES && !sleeps_on(s, rules);
}

bool stall_is_cleared(const struct stall *s, uint64_t rules)
{
	return !s->outside || s->rounds >= STALL_ROUNDS || sleeps_on(s, rules);
}

uint64_t stall_age(const struct stall *s)
{
	return s->outside && s->last.time_ns > s->since_ns ? s->last.time_ns - s->since_ns : 0;
}

bool stall_trips(struct stall *s, unsigned int rule, uint64_t limit_ns)
{
	uint64_t bit = 1ULL << rule;

	if ((s->told & bit) || stall_age(s) < limit_ns)
		return false;
	s->told |= bit;
	return true;
}
