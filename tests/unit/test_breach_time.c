/* SPDX-License-Identifier: MIT */
/* Conditions over a time: growth, so much of a window, several at once. */
#include <criterion/criterion.h>

#include "lib/clock.h"
#include "rules/breach.h"
#include "rules/slide.h"
#include "target/usage.h"

#define S   NSEC_PER_SEC
#define MIB (1024ULL * 1024)

/* CPU time that it burned and the memory it has, a second later. */
static enum breach_phase second(
	struct breach *b, struct measure *m, uint64_t cpu_ns, uint64_t anonymous)
{
	struct breach_reading reading;

	m->sample.time_ns += S;
	m->sample.cpu_ns += cpu_ns;
	m->sample.anonymous = anonymous;
	breach_feed(b, m, &reading);
	return reading.phase;
}

static struct breach *new_breach(const struct rule *rule)
{
	struct breach *b = NULL;

	cr_assert_eq(breach_new(rule, &b), 0);
	return b;
}

static struct measure start(void)
{
	return (struct measure){.sample = {.pid = 1, .time_ns = 100 * S, .threads = 1},
		.fds = USAGE_UNKNOWN,
		.quota_ns = USAGE_UNKNOWN,
		.memory_limit = USAGE_UNKNOWN,
		.machine_memory = 1024 * MIB,
		.machine_cpus = 2};
}

static struct rule growth_rule(void)
{
	struct rule r = {.armed = 1u << CONDITION_MEMORY_GROWTH, .interval_ns = S};

	r.conditions[CONDITION_MEMORY_GROWTH] =
		(struct condition){.limit = 40 * MIB, .within_ns = 10 * S};
	return r;
}

Test(breach_time, growth_is_from_the_least_within_the_time)
{
	struct rule r = growth_rule();
	struct breach *b = new_breach(&r);
	struct measure m = start();

	cr_expect_eq(second(b, &m, 0, 500 * MIB), BREACH_ARMED, "it was there before");
	cr_expect_eq(second(b, &m, 0, 100 * MIB), BREACH_ARMED);
	cr_expect_eq(second(b, &m, 0, 140 * MIB - 1), BREACH_ARMED, "one byte below");
	cr_expect_eq(second(b, &m, 0, 140 * MIB), BREACH_TRIPPED);
	cr_expect_eq(breach_last(b)->value[CONDITION_MEMORY_GROWTH], 40 * MIB);
	cr_expect_eq(second(b, &m, 0, 179 * MIB), BREACH_ARMED, "anew from the trip");
	cr_expect_eq(second(b, &m, 0, 180 * MIB), BREACH_TRIPPED);
	breach_free(b);
}

/* PER_SECOND bytes more each second, for a minute. */
static bool grows_into_a_trip(uint64_t per_second)
{
	struct rule r = growth_rule();
	struct breach *b = new_breach(&r);
	struct measure m = start();
	bool tripped = false;

	for (uint64_t i = 1; i <= 60; i++)
		tripped |= second(b, &m, 0, 100 * MIB + i * per_second) == BREACH_TRIPPED;
	breach_free(b);
	return tripped;
}

Test(breach_time, growth_counts_what_lies_as_far_back_as_it_says_and_no_further)
{
	cr_expect(grows_into_a_trip(4 * MIB), "40 MiB in just 10 s");
	cr_expect_not(grows_into_a_trip(4 * MIB - 1));
}

Test(breach_time, least_of_more_values_than_are_kept)
{
	struct slide_least s;
	uint64_t least;

	/* One each millisecond, of a time that SLIDE_MAX samples are kept of: each is higher than
	 * the one before, so that none is replaced. */
	cr_assert_eq(slide_least_init(&s, 3600 * S, NSEC_PER_MSEC), 0);
	for (uint64_t t = 0; t < 2 * 3600 * S; t += 50 * NSEC_PER_MSEC) {
		slide_least_add(&s, t, t);
		cr_assert(slide_least_get(&s, &least));
		if (t <= 3600 * S)
			cr_assert_eq(least, 0);
		else
			cr_assert(least >= t - 3600 * S && least <= t - 3600 * S + 4 * S, "at %ju",
				(uintmax_t)t);
	}
	slide_least_clear(&s);
	cr_expect_not(slide_least_get(&s, &least));
	slide_least_free(&s);
}

Test(breach_time, least_with_next_to_no_time)
{
	struct slide_least s;
	uint64_t least = 0;

	cr_assert_eq(slide_least_init(&s, 1, 1), 0);
	for (uint64_t t = 0; t < 100; t++)
		slide_least_add(&s, t, t);
	cr_expect(slide_least_get(&s, &least));
	cr_expect_eq(least, 98);
	slide_least_free(&s);
}

Test(breach_time, spans_leave_the_window_bit_by_bit)
{
	struct slide_spans s;

	cr_assert_eq(slide_spans_init(&s, 10, 1), 0);
	slide_spans_add(&s, 0, 4);
	slide_spans_add(&s, 4, 5);
	slide_spans_add(&s, 7, 9);
	cr_expect_eq(slide_spans_held(&s, 10), 7);
	cr_expect_eq(slide_spans_held(&s, 12), 5);
	cr_expect_eq(slide_spans_held(&s, 15), 2);
	cr_expect_eq(slide_spans_held(&s, 18), 1);
	cr_expect_eq(slide_spans_held(&s, 19), 0);
	slide_spans_free(&s);
}

Test(breach_time, more_spans_than_are_kept_lose_nothing)
{
	struct slide_spans s;

	cr_assert_eq(slide_spans_init(&s, 1000000, 100000), 0);
	for (uint64_t t = 0; t < 1000; t += 2)
		slide_spans_add(&s, t, t + 1);
	cr_expect_eq(slide_spans_held(&s, 1000), 500);
	slide_spans_free(&s);
}

static struct rule window_rule(void)
{
	struct rule r = {.armed = 1u << CONDITION_CPU,
		.interval_ns = S,
		.for_ns = 25 * S,
		.window_ns = 30 * S};

	r.conditions[CONDITION_CPU].limit = 80000;
	return r;
}

/* Busy but for LOW seconds of every ten; the second at which it trips, 0: never. */
static int trips_with_gaps(int low)
{
	struct rule r = window_rule();
	struct breach *b = new_breach(&r);
	struct measure m = start();
	int at = 0;

	second(b, &m, 0, MIB);
	for (int i = 1; i <= 200 && !at; i++)
		if (second(b, &m, i % 10 < low ? 0 : S, MIB) == BREACH_TRIPPED)
			at = i;
	breach_free(b);
	return at;
}

Test(breach_time, so_much_of_a_window)
{
	cr_expect_eq(trips_with_gaps(0), 25);
	cr_expect_eq(trips_with_gaps(1), 27, "seconds 10 and 20 are low");
	cr_expect_eq(trips_with_gaps(2), 0, "24 of 30");
}

Test(breach_time, a_window_begins_anew_after_a_trip)
{
	struct rule r = window_rule();
	struct breach *b = new_breach(&r);
	struct measure m = start();

	second(b, &m, 0, MIB);
	for (int i = 1; i <= 100; i++)
		cr_expect_eq(second(b, &m, S, MIB) == BREACH_TRIPPED, i % 25 == 0, "%d", i);
	breach_free(b);
}

Test(breach_time, a_level_counts_in_a_window_from_sample_to_sample)
{
	struct rule r = {.armed = 1u << CONDITION_MEMORY,
		.interval_ns = S,
		.for_ns = 3 * S,
		.window_ns = 5 * S};
	struct breach *b = new_breach(&r);
	struct measure m = start();
	const uint64_t memory[] = {9, 9, 1, 9, 9, 9};

	r.conditions[CONDITION_MEMORY].limit = 5 * MIB;
	for (size_t i = 0; i < 6; i++)
		cr_expect_eq(second(b, &m, 0, memory[i] * MIB) == BREACH_TRIPPED, i == 5, "%zu", i);
	breach_free(b);
}

static struct rule pair_rule(bool all_of, uint64_t window_ns)
{
	struct rule r = {.armed = 1u << CONDITION_CPU | 1u << CONDITION_MEMORY,
		.all_of = all_of,
		.interval_ns = S,
		.for_ns = 3 * S,
		.window_ns = window_ns};

	r.conditions[CONDITION_CPU].limit = 80000;
	r.conditions[CONDITION_MEMORY].limit = 50 * MIB;
	return r;
}

Test(breach_time, any_of_two_holds_by_itself)
{
	struct rule r = pair_rule(false, 0);
	struct breach *b = new_breach(&r);
	struct measure m = start();

	second(b, &m, 0, MIB);
	/* Two seconds of one, then two of the other, is neither for three. */
	cr_expect_eq(second(b, &m, S, MIB), BREACH_BREACHING);
	cr_expect_eq(second(b, &m, S, MIB), BREACH_BREACHING);
	cr_expect_eq(second(b, &m, 0, 60 * MIB), BREACH_BREACHING);
	cr_expect_eq(second(b, &m, 0, 60 * MIB), BREACH_BREACHING);
	cr_expect_eq(second(b, &m, S, 60 * MIB), BREACH_BREACHING);
	cr_expect_eq(second(b, &m, S, 60 * MIB), BREACH_TRIPPED);
	cr_expect_eq(breach_last(b)->met, r.armed);
	cr_expect_eq(breach_last(b)->tripped, 1u << CONDITION_MEMORY, "that of three seconds");
	breach_free(b);
}

Test(breach_time, all_of_two_hold_at_once)
{
	const uint64_t windows[] = {0, 4 * S};

	for (size_t w = 0; w < 2; w++) {
		struct rule r = pair_rule(true, windows[w]);
		struct breach *b = new_breach(&r);
		struct measure m = start();

		second(b, &m, 0, MIB);
		cr_expect_eq(second(b, &m, S, MIB), BREACH_ARMED);
		cr_expect_eq(second(b, &m, S, MIB), BREACH_ARMED, "only one of them");
		cr_expect_eq(second(b, &m, S, 60 * MIB), BREACH_BREACHING, "both from here");
		cr_expect_eq(second(b, &m, S, 60 * MIB), BREACH_BREACHING);
		cr_expect_eq(second(b, &m, S, 60 * MIB), BREACH_BREACHING);
		cr_expect_eq(breach_last(b)->held_ns, 2 * S);
		cr_expect_eq(second(b, &m, S, 60 * MIB), BREACH_TRIPPED);
		cr_expect_eq(breach_last(b)->tripped, r.armed);
		breach_free(b);
	}
}

Test(breach_time, all_of_with_one_that_cannot_be_told_never_trips)
{
	struct rule r = {.armed = 1u << CONDITION_THREADS | 1u << CONDITION_FDS, .all_of = true};
	struct breach *b = new_breach(&r);
	struct measure m = start();

	for (int i = 0; i < 10; i++)
		cr_expect_eq(second(b, &m, 0, MIB), BREACH_ARMED);
	breach_free(b);
}
