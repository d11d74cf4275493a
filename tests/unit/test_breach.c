/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "rules/breach.h"
#include "target/usage.h"

#define MS  NSEC_PER_MSEC
#define S   NSEC_PER_SEC
#define MIB (1024ULL * 1024)

/* A process whose measures are made one after the other. */
struct scene {
	struct rule rule;
	struct breach *breach;
	struct measure now;
	struct breach_reading reading;
};

static struct scene begin(struct rule rule)
{
	struct scene s = {
		.rule = rule,
		.now = {.sample = {.pid = 100,
				.start_ticks = 7,
				.time_ns = 1000 * S,
				.cpu_ns = 50 * S,
				.anonymous = 100 * MIB,
				.threads = 4},
			.fds = 10,
			.quota_ns = USAGE_UNKNOWN,
			.memory_limit = USAGE_UNKNOWN,
			.machine_memory = 8192 * MIB,
			.machine_cpus = 4},
	};

	if (!s.rule.interval_ns)
		s.rule.interval_ns = S;
	return s;
}

/* The scene's address must last from here on. */
static enum breach_phase feed(struct scene *s)
{
	if (!s->breach)
		cr_assert_eq(breach_new(&s->rule, &s->breach), 0);
	breach_feed(s->breach, &s->now, &s->reading);
	return s->reading.phase;
}

/* PERMILLE of one core in the next AFTER_NS. */
static enum breach_phase busy(struct scene *s, uint64_t after_ns, uint64_t permille)
{
	s->now.sample.time_ns += after_ns;
	s->now.sample.cpu_ns += after_ns * permille / 1000;
	return feed(s);
}

static enum breach_phase level(struct scene *s, uint64_t after_ns, uint64_t anonymous)
{
	s->now.sample.time_ns += after_ns;
	s->now.sample.anonymous = anonymous;
	return feed(s);
}

static struct rule cpu_rule(uint64_t limit, uint64_t for_ns)
{
	struct rule r = {.armed = 1u << CONDITION_CPU, .for_ns = for_ns};

	r.conditions[CONDITION_CPU].limit = limit;
	return r;
}

static struct rule memory_rule(enum condition_kind kind, uint64_t limit, uint64_t for_ns)
{
	struct rule r = {.armed = 1u << kind, .for_ns = for_ns};

	r.conditions[kind].limit = limit;
	r.conditions[kind].within_ns = 10 * S;
	return r;
}

/* When, counted from the moment it becomes busy (OFFSET_NS before the end of an interval), the rule
 * trips; 0: not within ten seconds. */
static uint64_t trips_after(uint64_t offset_ns, uint64_t permille, uint64_t noise)
{
	struct scene s = begin(cpu_rule(80000, 3 * S));
	uint64_t at = 0, random = offset_ns;

	feed(&s);
	for (int i = 0; i < 40; i++)
		cr_assert_eq(busy(&s, S, 0), BREACH_ARMED);
	s.now.sample.time_ns += S - offset_ns;
	if (busy(&s, offset_ns, permille) == BREACH_TRIPPED)
		at = offset_ns;
	for (uint64_t t = offset_ns + S; !at && t <= 10 * S; t += S) {
		random = random * 6364136223846793005 + 1442695040888963407;
		if (busy(&s, S, permille - (noise ? (random >> 33) % noise : 0)) == BREACH_TRIPPED)
			at = t;
	}
	breach_free(s.breach);
	return at;
}

Test(breach, idle_and_then_busy_trips_three_to_four_seconds_after_it_began)
{
	for (uint64_t offset = 10 * MS; offset <= S; offset += 10 * MS) {
		uint64_t at = trips_after(offset, 1000, 0);

		cr_assert(at >= 3 * S && at <= 4100 * MS, "%ju ms before the sample: after %ju ms",
			(uintmax_t)(offset / MS), (uintmax_t)(at / MS));
	}
}

/* Nobody gets all of a processor, nor the same part of it each second. */
Test(breach, that_a_busy_process_gets_a_little_more_or_less_does_not_matter)
{
	for (uint64_t offset = MS; offset <= S; offset += MS) {
		uint64_t at = trips_after(offset, 990, 40);

		cr_assert(at >= 3 * S && at <= 4100 * MS, "%ju ms before the sample: after %ju ms",
			(uintmax_t)(offset / MS), (uintmax_t)(at / MS));
	}
}

Test(breach, cpu_at_the_limit_is_past_it_and_a_thousandth_below_is_not)
{
	struct {
		uint64_t cpu_ns;
		enum breach_phase phase;
	} cases[] = {{800000000, BREACH_TRIPPED}, {799990000, BREACH_ARMED},
		{800010000, BREACH_TRIPPED}, {0, BREACH_ARMED}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene s = begin(cpu_rule(80000, 0));

		feed(&s);
		s.now.sample.time_ns += S;
		s.now.sample.cpu_ns += cases[i].cpu_ns;
		cr_expect_eq(feed(&s), cases[i].phase, "case %zu: %ju", i,
			(uintmax_t)s.reading.value[CONDITION_CPU]);
		breach_free(s.breach);
	}
}

Test(breach, bases_of_cpu)
{
	struct {
		enum cpu_base base;
		uint64_t quota_ns, permille, value;
	} cases[] = {
		{CPU_BASE_CORE, USAGE_UNKNOWN, 2000, 200000},
		{CPU_BASE_MACHINE, USAGE_UNKNOWN, 2000, 50000}, {CPU_BASE_QUOTA, S / 2, 450, 90000},
		{CPU_BASE_QUOTA, USAGE_UNKNOWN, 2000, 50000}, /* all cores */
		{CPU_BASE_QUOTA, 100 * S, 2000, 50000},	      /* more than there are */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene s = begin(cpu_rule(1000000, 0));

		s.rule.cpu_base = cases[i].base;
		s.now.quota_ns = cases[i].quota_ns;
		feed(&s);
		busy(&s, S, cases[i].permille);
		cr_expect(s.reading.known, "case %zu", i);
		cr_expect_eq(s.reading.value[CONDITION_CPU], cases[i].value, "case %zu: %ju", i,
			(uintmax_t)s.reading.value[CONDITION_CPU]);
		breach_free(s.breach);
	}
}

Test(breach, what_cannot_be_told_is_never_met)
{
	struct rule everything = {
		.armed = (1u << CONDITION_KINDS) - 1,
		.cpu_base = CPU_BASE_MACHINE,
	};
	struct scene s;

	everything.conditions[CONDITION_MEMORY].percent = true;
	everything.conditions[CONDITION_MEMORY_BELOW].limit = UINT64_MAX;
	everything.conditions[CONDITION_CPU_BELOW].limit = UINT64_MAX;
	s = begin(everything);
	s.now.sample.anonymous = 0; /* it has no memory any more */
	s.now.fds = USAGE_UNKNOWN;
	s.now.machine_cpus = 0;
	feed(&s);
	busy(&s, S, 1000);
	cr_expect_eq(s.reading.known, 1u << CONDITION_THREADS);
	cr_expect_eq(s.reading.met, 1u << CONDITION_THREADS);
	s.now.sample.anonymous = MIB;
	s.now.machine_memory = 0;
	busy(&s, S, 1000);
	cr_expect_not(s.reading.known & 1u << CONDITION_MEMORY, "no machine, no share of it");
	cr_expect(s.reading.known & 1u << CONDITION_MEMORY_BELOW);
	breach_free(s.breach);
}

Test(breach, a_counter_that_goes_back_starts_the_count_again)
{
	struct scene s = begin(cpu_rule(80000, 3 * S));

	feed(&s);
	busy(&s, S, 1000);
	busy(&s, S, 1000);
	s.now.sample.cpu_ns -= 10 * S;
	s.now.sample.time_ns += S;
	cr_expect_eq(feed(&s), BREACH_ARMED);
	cr_expect_eq(s.reading.known, 0);
	cr_expect_eq(busy(&s, S, 1000), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 1000), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 1000), BREACH_TRIPPED);
	breach_free(s.breach);
}

Test(breach, one_low_sample_starts_the_count_again)
{
	struct scene s = begin(cpu_rule(80000, 3 * S));

	feed(&s);
	for (int i = 0; i < 50; i++) { /* bursts of two seconds, for ever */
		cr_assert_eq(busy(&s, S, 1000), BREACH_BREACHING);
		cr_assert_eq(busy(&s, S, 1000), BREACH_BREACHING);
		cr_assert_eq(busy(&s, S, 790), BREACH_ARMED);
	}
	breach_free(s.breach);
}

Test(breach, bursts_of_two_seconds_never_trip_wherever_the_samples_lie)
{
	for (uint64_t offset = 0; offset < S; offset += 50 * MS) {
		struct scene s = begin(cpu_rule(80000, 3 * S));

		feed(&s);
		for (int i = 0; i < 30; i++) { /* 2 s busy, 1 s not */
			cr_assert_neq(busy(&s, S, 1000 * (S - offset) / S), BREACH_TRIPPED);
			cr_assert_neq(busy(&s, S, 1000), BREACH_TRIPPED);
			cr_assert_neq(busy(&s, S, 1000 * offset / S), BREACH_TRIPPED);
		}
		breach_free(s.breach);
	}
}

Test(breach, a_timer_that_is_late_once_makes_no_interval_too_short)
{
	struct scene s = begin(cpu_rule(80000, 3 * S));

	s.now.sample.time_ns += 40 * MS; /* the first sample comes late, the rest in time */
	feed(&s);
	cr_expect_eq(busy(&s, 960 * MS, 1000), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 1000), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 1000), BREACH_TRIPPED);
	breach_free(s.breach);
}

/* Which of the two it is cannot be told. */
Test(breach, a_step_within_an_interval_never_counts_for_all_of_it)
{
	struct scene s = begin(cpu_rule(80000, 3 * S));

	feed(&s);
	busy(&s, S, 0);
	cr_expect_eq(busy(&s, S, 960), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 950), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 960), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 950), BREACH_TRIPPED);
	breach_free(s.breach);
}

Test(breach, it_starts_anew_after_a_trip)
{
	struct scene s = begin(cpu_rule(80000, 3 * S));
	unsigned int trips = 0;

	feed(&s);
	for (int i = 1; i <= 12; i++) {
		bool tripped = busy(&s, S, 1000) == BREACH_TRIPPED;

		cr_expect_eq(tripped, i % 3 == 0, "second %d", i);
		trips += tripped;
		cr_expect_eq(breach_last(s.breach)->phase, s.reading.phase);
	}
	cr_expect_eq(trips, 4);
	breach_free(s.breach);
}

Test(breach, the_same_measure_again_says_nothing_new)
{
	struct scene s = begin(cpu_rule(80000, S));

	feed(&s);
	cr_expect_eq(busy(&s, S, 1000), BREACH_TRIPPED);
	cr_expect_eq(feed(&s), BREACH_BREACHING);
	cr_expect_eq(s.reading.tripped, 0);
	cr_expect_eq(busy(&s, S, 1000), BREACH_TRIPPED);
	breach_free(s.breach);
}

Test(breach, another_process_a_gap_and_a_clock_that_goes_back_start_again)
{
	enum {
		OTHER_PID,
		OTHER_START,
		GAP,
		CLOCK_BACK,
		RESTART,
		NOTHING
	};

	for (int what = OTHER_PID; what <= NOTHING; what++) {
		struct scene s = begin(memory_rule(CONDITION_MEMORY, 50 * MIB, 3 * S));

		feed(&s);
		level(&s, S, 60 * MIB);
		level(&s, S, 60 * MIB);
		s.now.sample.pid += what == OTHER_PID;
		s.now.sample.start_ticks += what == OTHER_START;
		s.now.sample.time_ns += what == GAP ? 4 * S : 0;
		s.now.sample.time_ns -= what == CLOCK_BACK ? 10 * S : 0;
		if (what == RESTART)
			breach_restart(s.breach);
		cr_expect_eq(level(&s, S, 60 * MIB),
			what == NOTHING ? BREACH_TRIPPED : BREACH_BREACHING, "case %d", what);
		breach_free(s.breach);
	}
}

Test(breach, a_few_missing_samples_are_no_gap)
{
	struct scene s = begin(memory_rule(CONDITION_MEMORY, 50 * MIB, 4 * S));

	feed(&s);
	cr_expect_eq(level(&s, 4 * S, 60 * MIB), BREACH_TRIPPED);
	breach_free(s.breach);
}

Test(breach, cpu_below)
{
	struct rule r = {.armed = 1u << CONDITION_CPU_BELOW, .for_ns = 3 * S};
	struct scene s;

	r.conditions[CONDITION_CPU_BELOW].limit = 5000;
	s = begin(r);
	feed(&s);
	cr_expect_eq(busy(&s, S, 50), BREACH_ARMED, "at the limit is not below it");
	cr_expect_eq(busy(&s, S, 49), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 0), BREACH_BREACHING);
	cr_expect_eq(busy(&s, S, 0), BREACH_BREACHING, "the first was not as idle as the rest");
	cr_expect_eq(busy(&s, S, 0), BREACH_TRIPPED);
	breach_free(s.breach);
}

Test(breach, memory_levels)
{
	struct {
		enum condition_kind kind;
		uint64_t limit, memory;
		bool trips;
	} cases[] = {
		{CONDITION_MEMORY, 400 * MIB, 400 * MIB, true},
		{CONDITION_MEMORY, 400 * MIB, 400 * MIB - 1, false},
		{CONDITION_MEMORY, 400 * MIB, 500 * MIB, true},
		{CONDITION_MEMORY_BELOW, 400 * MIB, 400 * MIB, false},
		{CONDITION_MEMORY_BELOW, 400 * MIB, 400 * MIB - 1, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene s = begin(memory_rule(cases[i].kind, cases[i].limit, 0));

		cr_expect_eq(level(&s, S, cases[i].memory) == BREACH_TRIPPED, cases[i].trips,
			"case %zu", i);
		breach_free(s.breach);
	}
}

Test(breach, what_counts_as_memory)
{
	for (int base = MEMORY_BASE_ANONYMOUS; base <= MEMORY_BASE_RSS; base++) {
		struct scene s = begin(memory_rule(CONDITION_MEMORY, 1, 0));

		s.rule.memory_base = (enum memory_base)base;
		s.now.sample.anonymous = 1 * MIB;
		s.now.sample.swapped = 2 * MIB;
		s.now.sample.file = 4 * MIB;
		s.now.sample.shared = 8 * MIB;
		feed(&s);
		cr_expect_eq(s.reading.value[CONDITION_MEMORY],
			(base == MEMORY_BASE_RSS ? 15 : 3) * MIB);
		breach_free(s.breach);
	}
}

Test(breach, memory_in_percent_is_of_the_lesser_of_cgroup_and_machine)
{
	struct {
		uint64_t limit, machine, value;
	} cases[] = {
		{200 * MIB, 8192 * MIB, 50000},
		{USAGE_UNKNOWN, 400 * MIB, 25000},
		{1ULL << 62, 400 * MIB, 25000},
		{200 * MIB, 0, 50000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene s = begin(memory_rule(CONDITION_MEMORY, 1, 0));

		s.rule.conditions[CONDITION_MEMORY].percent = true;
		s.now.memory_limit = cases[i].limit;
		s.now.machine_memory = cases[i].machine;
		feed(&s);
		cr_expect_eq(s.reading.value[CONDITION_MEMORY], cases[i].value, "case %zu", i);
		breach_free(s.breach);
	}
}

Test(breach, a_level_holds_from_its_first_sample)
{
	struct scene s = begin(memory_rule(CONDITION_MEMORY, 50 * MIB, 2 * S));

	cr_expect_eq(level(&s, S, 60 * MIB), BREACH_BREACHING);
	cr_expect_eq(s.reading.held_ns, 0);
	cr_expect_eq(level(&s, S, 60 * MIB), BREACH_BREACHING);
	cr_expect_eq(s.reading.held_ns, S);
	cr_expect_eq(s.reading.needed_ns, 2 * S);
	cr_expect_eq(level(&s, S, 60 * MIB), BREACH_TRIPPED);
	cr_expect_eq(s.reading.held_ns, 2 * S);
	breach_free(s.breach);
}

Test(breach, threads_and_descriptors)
{
	struct rule r = {.armed = 1u << CONDITION_THREADS | 1u << CONDITION_FDS};
	struct scene s;

	r.conditions[CONDITION_THREADS].limit = 5;
	r.conditions[CONDITION_FDS].limit = 11;
	s = begin(r);
	cr_expect_eq(busy(&s, S, 0), BREACH_ARMED, "one below each");
	s.now.fds++;
	cr_expect_eq(busy(&s, S, 0), BREACH_TRIPPED);
	cr_expect_eq(s.reading.tripped, 1u << CONDITION_FDS);
	s.now.sample.threads++;
	cr_expect_eq(busy(&s, S, 0), BREACH_TRIPPED);
	cr_expect_eq(s.reading.tripped, r.armed);
	breach_free(s.breach);
}
