/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "rules/stall.h"

#define MS   NSEC_PER_MSEC
#define RULE 1 /* the first */

static void see(struct stall *s, enum stall_place place, uint64_t ms, uint64_t switches)
{
	const struct stall_sample sample = {
		.place = place, .time_ns = ms * MS, .pc = 1, .sp = 2, .switches = switches};

	stall_see(s, &sample, s->armed_ns ? s->rounds : 0, 0);
}

Test(stall, who_sleeps_is_known_without_a_probe)
{
	struct stall s = {};

	see(&s, STALL_WAITS, 100, 5);
	cr_expect_eq(stall_age(&s), 0);
	see(&s, STALL_BLOCKED, 150, 6);
	see(&s, STALL_BLOCKED, 200, 6);
	see(&s, STALL_BLOCKED, 1149, 6);
	cr_expect(!stall_trips(&s, 0, 1000 * MS));
	see(&s, STALL_BLOCKED, 1150, 6);
	cr_expect_eq(stall_age(&s), 1000 * MS);
	cr_expect(stall_trips(&s, 0, 1000 * MS));
	cr_expect(!stall_trips(&s, 0, 1000 * MS), "one stall trips once");
	cr_expect(stall_trips(&s, 1, 900 * MS), "but each rule");
	see(&s, STALL_WAITS, 1200, 7);
	see(&s, STALL_BLOCKED, 1250, 8);
	see(&s, STALL_BLOCKED, 2250, 8);
	cr_expect(stall_trips(&s, 0, 1000 * MS));
}

Test(stall, who_sleeps_anew_has_moved)
{
	struct stall s = {};

	see(&s, STALL_BLOCKED, 100, 6);
	see(&s, STALL_BLOCKED, 2000, 7);
	cr_expect_eq(stall_age(&s), 0);
}

Test(stall, a_probe_proves_what_runs)
{
	struct stall s = {};
	struct stall_sample sample = {.place = STALL_RUNS, .time_ns = 100 * MS};

	see(&s, STALL_RUNS, 100, 0);
	cr_expect(!stall_wants_probe(&s, RULE), "once is no reason");
	see(&s, STALL_RUNS, 150, 0);
	cr_expect(stall_wants_probe(&s, RULE));
	see(&s, STALL_RUNS, 5000, 0);
	cr_expect_eq(stall_age(&s), 0, "it may have gone round a thousand times");
	stall_arm(&s, 5010 * MS);
	see(&s, STALL_RUNS, 5050, 0);
	cr_expect_eq(stall_age(&s), 40 * MS);
	see(&s, STALL_RUNS, 5500, 0);
	cr_expect_eq(stall_age(&s), 490 * MS);
	sample.time_ns = 5600 * MS;
	stall_see(&s, &sample, 1, 5550 * MS);
	cr_expect_eq(stall_age(&s), 50 * MS, "since it came out of its wait again");
	cr_expect(!stall_is_cleared(&s, RULE));
	sample.time_ns = 5700 * MS;
	stall_see(&s, &sample, STALL_ROUNDS, 5699 * MS);
	cr_expect(stall_is_cleared(&s, RULE));
	stall_disarm(&s);
	see(&s, STALL_RUNS, 6000, 0);
	cr_expect_eq(stall_age(&s), 0);
}

Test(stall, nothing_is_to_be_seen_of_what_was_told_and_sleeps_on)
{
	struct stall s = {};

	for (uint64_t at = 100; at <= 1100; at += 50)
		see(&s, STALL_BLOCKED, at, 6);
	cr_expect(stall_wants_probe(&s, RULE));
	cr_expect(stall_trips(&s, 0, 1000 * MS));
	cr_expect(!stall_wants_probe(&s, RULE));
	cr_expect(stall_is_cleared(&s, RULE));
	cr_expect(stall_wants_probe(&s, RULE | 2), "another limit is still to pass");
	see(&s, STALL_BLOCKED, 1150, 6);
	cr_expect(!stall_wants_probe(&s, RULE));
	see(&s, STALL_BLOCKED, 1200, 7);
	cr_expect(stall_wants_probe(&s, RULE), "it has moved");
	cr_expect(!stall_is_cleared(&s, RULE));
}

Test(stall, what_is_held_does_not_stall)
{
	struct stall s = {};

	see(&s, STALL_BLOCKED, 100, 6);
	see(&s, STALL_STOPPED, 500, 6);
	see(&s, STALL_BLOCKED, 900, 6);
	cr_expect_eq(stall_age(&s), 0);
	see(&s, STALL_BLOCKED, 1000, 6);
	cr_expect_eq(stall_age(&s), 100 * MS);
	stall_restart(&s, 1050 * MS);
	see(&s, STALL_BLOCKED, 1100, 6);
	see(&s, STALL_BLOCKED, 1200, 6);
	cr_expect_eq(stall_age(&s), 100 * MS);
	stall_arm(&s, 1210 * MS);
	stall_restart(&s, 1300 * MS);
	see(&s, STALL_RUNS, 1400, 7);
	cr_expect_leq(stall_age(&s), 100 * MS, "a probe does not prove more");
}

Test(stall, to_have_come_back_once_is_told_once)
{
	struct stall s = {};
	struct stall_sample sample = {.place = STALL_RUNS};

	see(&s, STALL_RUNS, 100, 0);
	see(&s, STALL_RUNS, 150, 0);
	stall_arm(&s, 160 * MS);
	see(&s, STALL_RUNS, 1200, 0);
	cr_expect(stall_trips(&s, 3, 1000 * MS));
	stall_disarm(&s);
	see(&s, STALL_RUNS, 1250, 0);
	stall_arm(&s, 1260 * MS);
	see(&s, STALL_RUNS, 2900, 0);
	cr_expect(!stall_trips(&s, 3, 1000 * MS), "the same stall");
	sample.time_ns = 5000 * MS;
	stall_see(&s, &sample, 1, 3000 * MS);
	cr_expect(stall_trips(&s, 3, 1000 * MS), "another one");
}

/* A thread that works, waits and sleeps for random times, and a watch that samples, arms and reads
 * as the real one does: the truth is known, so what it says can be held against it. */

#define LIMIT  1000 /* ms */
#define PERIOD 50
#define ATTACH 12
#define REST   (LIMIT / 4)

struct world {
	struct stall stall;
	unsigned int seed;
	uint64_t now;	   /* ms */
	uint64_t came_out; /* of the wait, the last time */
	uint64_t changes;  /* its next step is then */
	uint64_t switches;
	enum stall_place place;
	uint64_t rounds, last; /* of the probe */
	uint64_t ready;	       /* the probe will be there then; 0: not asked for */
	uint64_t rest;
	bool tripped;
	bool excused; /* it had tripped, came back, and stalled again before a probe was there */
};

static unsigned int random_below(struct world *w, unsigned int n)
{
	return (unsigned int)rand_r(&w->seed) % n;
}

/* Some only work for moments, some stall now and then, some sleep between. */
static void step(struct world *w)
{
	static const unsigned int longest[] = {3, 40, 300, 900, 3000};
	unsigned int length = longest[random_below(w, 1 + w->seed % ARRAY_SIZE(longest))];

	switch (w->place) {
	case STALL_WAITS:
		w->came_out = w->now;
		w->tripped = false;
		w->excused = w->stall.told && !w->stall.armed_ns;
		w->rounds += w->stall.armed_ns != 0;
		w->last = w->stall.armed_ns ? w->now : w->last;
		w->place = STALL_RUNS;
		break;
	case STALL_RUNS:
		w->place = random_below(w, 3) ? STALL_WAITS : STALL_BLOCKED;
		w->switches += w->place == STALL_BLOCKED || random_below(w, 2);
		length = w->place == STALL_WAITS ? random_below(w, 4) : length;
		break;
	default:
		w->place = STALL_RUNS;
		break;
	}
	w->changes = w->now + random_below(w, length + 1);
}

static void arm_when_due(struct world *w)
{
	if (w->ready && w->now >= w->ready) {
		stall_arm(&w->stall, w->now * MS);
		w->rounds = w->last = 0;
		w->ready = 0;
	}
}

static void sample(struct world *w)
{
	const struct stall_sample sample = {.place = w->place,
		.time_ns = w->now * MS,
		.pc = 1,
		.sp = 2,
		.switches = w->place == STALL_BLOCKED ? w->switches : 0};
	uint64_t outside = w->place == STALL_WAITS ? 0 : w->now - w->came_out;

	stall_see(&w->stall, &sample, w->rounds, w->last * MS);
	cr_assert_leq(stall_age(&w->stall), outside * MS, "at %ju ms, seed %u", w->now, w->seed);
	if (stall_is_cleared(&w->stall, RULE)) {
		w->rest = w->stall.outside ? w->now + REST : w->rest;
		stall_disarm(&w->stall);
	}
	if (stall_wants_probe(&w->stall, RULE) && !w->ready && w->now >= w->rest)
		w->ready = w->now + ATTACH;
	if (stall_trips(&w->stall, 0, LIMIT * MS)) {
		cr_assert_not(w->tripped, "twice, at %ju ms", w->now);
		cr_assert_geq(outside, LIMIT);
		w->tripped = true;
	}
	cr_assert(w->tripped || w->excused || outside < LIMIT + REST + 4 * PERIOD + ATTACH,
		"missed, at %ju ms: outside for %ju", w->now, outside);
}

Test(stall, says_what_is_true_of_any_schedule)
{
	for (unsigned int seed = 1; seed <= 1000; seed++) {
		struct world w = {.seed = seed, .place = STALL_WAITS};

		for (w.now = 1; w.now < 20000; w.now++) {
			while (w.now >= w.changes)
				step(&w);
			arm_when_due(&w);
			if (w.now % PERIOD == 0)
				sample(&w);
		}
	}
}
