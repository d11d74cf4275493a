/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/signals.h"
#include "rules/rule.h"

#define REAL (1790000000 * NSEC_PER_SEC) /* some day in 2026 */

static struct event death_by(int sig)
{
	struct event e = {.kind = EVENT_DEATH, .signal = {.number = sig}};

	return e;
}

Test(rule, trips_only_on_its_signals)
{
	struct rule r = {.fatal_signals = SIGNAL_BIT(SIGSEGV), .first_chance = SIGNAL_BIT(SIGUSR1)};
	struct event e = death_by(SIGSEGV);

	cr_assert(rule_trips(&r, &e));
	e.signal.number = SIGABRT;
	cr_assert_not(rule_trips(&r, &e));
	e.kind = EVENT_FIRST_CHANCE;
	e.signal.number = SIGSEGV;
	cr_assert_not(rule_trips(&r, &e), "a handled signal is no death");
	e.signal.number = SIGUSR1;
	cr_assert(rule_trips(&r, &e));
}

/* One rule, the ledger it writes to, and a moment. */
struct scene {
	struct rule rule;
	struct ledger *ledger;
	struct clock_pair now;
	struct trip trip;
};

static struct scene begin(struct rule rule, const struct ledger_limits *limits)
{
	struct scene s = {
		.rule = rule,
		.now = {1000 * NSEC_PER_SEC, REAL},
		.trip = {.kind = TRIP_CPU, .pid = 10, .start_ticks = 20, .age_ns = NSEC_PER_SEC},
	};

	if (!s.rule.name)
		s.rule.name = "r";
	cr_assert_eq(ledger_new(limits, &s.ledger), 0);
	return s;
}

static void end(struct scene *s)
{
	ledger_free(s->ledger);
}

static void wait_ns(struct scene *s, uint64_t ns)
{
	s->now.boot_ns += ns;
	s->now.real_ns += ns;
}

/* NULL: a capture. */
static const char *decide(struct scene *s)
{
	struct decision d = rule_decide(&s->rule, s->ledger, &s->trip, &s->now);

	cr_assert_eq(d.capture, d.skip_reason == NULL && s->rule.what.kind != CORE_NONE);
	return d.skip_reason;
}

static void captures(struct scene *s, int line)
{
	const char *reason = decide(s);

	cr_assert_null(reason, "line %d: %s", line, reason);
}

static void skips(struct scene *s, const char *reason, int line)
{
	const char *said = decide(s);

	cr_assert(said && strcmp(said, reason) == 0, "line %d: %s, not %s", line,
		said ? said : "captured", reason);
}

#define CAPTURES(s)	 captures(s, __LINE__)
#define SKIPS(s, reason) skips(s, reason, __LINE__)

Test(rule, count_is_of_captures)
{
	struct scene s = begin((struct rule){.count = 2}, NULL);
	struct decision d;

	CAPTURES(&s);
	d = rule_decide(&s.rule, s.ledger, &s.trip, &s.now);
	cr_assert(d.capture);
	cr_assert(rule_is_spent(&s.rule, s.ledger, &s.now));
	SKIPS(&s, "count-reached");
	rule_give_back(s.ledger, &d, &s.now); /* one of the two failed */
	wait_ns(&s, NSEC_PER_SEC);
	CAPTURES(&s);
	end(&s);
}

Test(rule, spacing_is_from_the_last_capture)
{
	struct scene s = begin((struct rule){.every_ns = 30 * NSEC_PER_SEC}, NULL);

	CAPTURES(&s);
	wait_ns(&s, 30 * NSEC_PER_SEC - 1);
	SKIPS(&s, "too-soon");
	wait_ns(&s, 1);
	CAPTURES(&s);
	end(&s);
}

Test(rule, rate_is_of_any_such_time)
{
	struct scene s = begin((struct rule){.rate_count = 3, .rate_ns = 60 * NSEC_PER_SEC}, NULL);

	CAPTURES(&s);
	wait_ns(&s, 10 * NSEC_PER_SEC);
	CAPTURES(&s);
	CAPTURES(&s);
	SKIPS(&s, "rate-reached");
	wait_ns(&s, 50 * NSEC_PER_SEC - 1);
	SKIPS(&s, "rate-reached");
	wait_ns(&s, 1); /* the first is a minute old, the other two are not */
	CAPTURES(&s);
	SKIPS(&s, "rate-reached");
	end(&s);
}

Test(rule, a_process_must_be_old_enough)
{
	struct scene s = begin((struct rule){.min_age_ns = NSEC_PER_SEC}, NULL);

	s.trip.age_ns = NSEC_PER_SEC - 1;
	SKIPS(&s, "too-young");
	cr_assert_eq(ledger_started(s.ledger, "r"), 0);
	s.trip.age_ns = NSEC_PER_SEC;
	CAPTURES(&s);
	end(&s);
}

Test(rule, begin_and_end_are_times_of_the_day)
{
	struct scene s = begin((struct rule){.start_ns = REAL + 10, .end_ns = REAL + 20}, NULL);

	wait_ns(&s, 9);
	SKIPS(&s, "not-started");
	cr_assert_not(rule_is_spent(&s.rule, s.ledger, &s.now));
	wait_ns(&s, 1);
	CAPTURES(&s);
	wait_ns(&s, 9);
	CAPTURES(&s);
	wait_ns(&s, 1);
	SKIPS(&s, "end-passed");
	cr_assert(rule_is_spent(&s.rule, s.ledger, &s.now));
	end(&s);
}

Test(rule, duration_runs_from_when_it_was_armed_first)
{
	struct scene s = begin((struct rule){.duration_ns = 100}, NULL);

	cr_assert_eq(ledger_arm(s.ledger, "r", (int64_t)s.now.boot_ns), 0);
	wait_ns(&s, 50);
	cr_assert_eq(ledger_arm(s.ledger, "r", (int64_t)s.now.boot_ns), 0);
	wait_ns(&s, 49);
	CAPTURES(&s);
	cr_assert_not(rule_is_spent(&s.rule, s.ledger, &s.now));
	wait_ns(&s, 1);
	SKIPS(&s, "duration-passed");
	cr_assert(rule_is_spent(&s.rule, s.ledger, &s.now));
	end(&s);
}

Test(rule, a_killed_process_has_nothing_to_capture_and_does_not_count)
{
	struct event killed = death_by(SIGKILL), handled = {.kind = EVENT_FIRST_CHANCE};
	struct scene s = begin((struct rule){.count = 1}, NULL);

	s.trip = trip_by_event(&killed, NULL, s.now.boot_ns);
	SKIPS(&s, "memory-gone");
	s.trip = trip_by_event(&handled, NULL, s.now.boot_ns);
	SKIPS(&s, "handled");
	cr_assert_not(rule_is_spent(&s.rule, s.ledger, &s.now));
	end(&s);
}

Test(rule, observing_counts_trips_and_captures_nothing)
{
	struct scene s = begin((struct rule){.count = 1, .observe = true}, NULL);

	SKIPS(&s, "observe");
	cr_assert(rule_is_spent(&s.rule, s.ledger, &s.now));
	end(&s);
}

static const struct ledger_limits limits = {
	.rule_per_day = 3,
	.signature_per_day = 1,
	.host_per_day = 4,
	.process_spacing_ns = 300 * NSEC_PER_SEC,
};

Test(rule, captures_of_one_process_are_apart)
{
	struct scene s = begin((struct rule){}, &limits);

	CAPTURES(&s);
	wait_ns(&s, 300 * NSEC_PER_SEC - 1);
	SKIPS(&s, "process-too-soon");
	s.rule.name = "another rule";
	SKIPS(&s, "process-too-soon");
	s.trip.start_ticks++; /* the same id, another process */
	CAPTURES(&s);
	s.trip.start_ticks--;
	wait_ns(&s, 1);
	CAPTURES(&s);
	end(&s);
}

Test(rule, a_failed_capture_keeps_its_process_apart_and_counts_for_nothing_else)
{
	struct scene s = begin((struct rule){.interval_ns = 1}, &limits);

	for (int i = 0; i < 10; i++) {
		struct decision d = rule_decide(&s.rule, s.ledger, &s.trip, &s.now);

		cr_assert(d.capture, "%d: %s", i, d.skip_reason);
		rule_give_back(s.ledger, &d, &s.now);
		cr_expect_eq(rule_retry_ns(&s.rule, s.ledger, &s.trip, &s.now),
			limits.process_spacing_ns, "not the second that it takes by itself");
		wait_ns(&s, 1);
		SKIPS(&s, "process-too-soon");
		s.trip.pid++;
	}
	end(&s);
}

/* Tries it, and fails. */
static void fails(struct scene *s, uint64_t retry_ns, int line)
{
	struct decision d = rule_decide(&s->rule, s->ledger, &s->trip, &s->now);

	cr_assert(d.capture, "line %d: %s", line, d.skip_reason);
	wait_ns(s, 5 * NSEC_PER_SEC); /* it is from the end of it that the wait counts */
	rule_give_back(s->ledger, &d, &s->now);
	cr_assert_eq(
		rule_retry_ns(&s->rule, s->ledger, &s->trip, &s->now), retry_ns, "line %d", line);
}

Test(rule, what_cannot_be_captured_is_tried_ever_more_seldom)
{
	struct scene s = begin((struct rule){.interval_ns = NSEC_PER_SEC, .count = 1}, NULL);

	for (uint64_t wait = 1; wait < 2000; wait *= 2) {
		uint64_t ns = wait < 300 ? wait * NSEC_PER_SEC : RULE_RETRY_MAX_NS;
		struct decision d;

		fails(&s, ns, __LINE__);
		wait_ns(&s, ns - 1);
		d = rule_decide(&s.rule, s.ledger, &s.trip, &s.now);
		cr_assert(d.skip_reason && d.told, "%d s", (int)wait);
		cr_assert_str_eq(d.skip_reason, "failed-before");
		wait_ns(&s, 1);
	}
	s.trip.pid++;
	fails(&s, NSEC_PER_SEC, __LINE__); /* another process has no part in it */
	s.trip.pid--;
	CAPTURES(&s);
	SKIPS(&s, "count-reached");
	end(&s);
}

Test(rule, a_capture_ends_the_row_of_failures)
{
	struct scene s = begin((struct rule){.interval_ns = NSEC_PER_SEC}, NULL);

	fails(&s, NSEC_PER_SEC, __LINE__);
	wait_ns(&s, NSEC_PER_SEC);
	fails(&s, 2 * NSEC_PER_SEC, __LINE__);
	s.rule.name = "another rule";
	CAPTURES(&s);
	s.rule.name = "r";
	SKIPS(&s, "failed-before");
	wait_ns(&s, 2 * NSEC_PER_SEC);
	CAPTURES(&s);
	fails(&s, NSEC_PER_SEC, __LINE__);
	end(&s);
}

Test(rule, an_end_comes_once_whatever_failed_before)
{
	struct event crash = death_by(SIGSEGV);
	struct scene s = begin((struct rule){.interval_ns = NSEC_PER_SEC}, NULL);
	struct trip living = s.trip;

	fails(&s, NSEC_PER_SEC, __LINE__);
	crash.process.pid = s.trip.pid;
	crash.process.start_ticks = s.trip.start_ticks;
	s.trip = trip_by_event(&crash, NULL, s.now.boot_ns);
	CAPTURES(&s);
	s.trip = living;
	s.trip.kind = TRIP_EXIT;
	CAPTURES(&s);
	end(&s);
}

Test(rule, limits_of_a_day_run_over_midnight)
{
	struct scene s = begin((struct rule){}, &limits);

	for (int i = 0; i < 3; i++) {
		s.trip.pid++;
		CAPTURES(&s);
		wait_ns(&s, 3600 * NSEC_PER_SEC);
	}
	s.trip.pid++;
	SKIPS(&s, "rule-day-limit");
	s.rule.name = "another rule";
	CAPTURES(&s);
	s.trip.pid++;
	SKIPS(&s, "host-day-limit");
	wait_ns(&s, LEDGER_DAY_NS - 3 * 3600 * NSEC_PER_SEC - 1);
	SKIPS(&s, "host-day-limit");
	wait_ns(&s, 1); /* the first is a day old */
	s.rule.name = "r";
	CAPTURES(&s);
	s.trip.pid++;
	SKIPS(&s, "rule-day-limit");
	end(&s);
}

Test(rule, a_crash_is_captured_once_a_day_and_then_counted)
{
	struct event crash = death_by(SIGSEGV);
	struct scene s = begin((struct rule){}, &limits);

	s.trip = trip_by_event(&crash, "00000000000000aa", s.now.boot_ns);
	CAPTURES(&s);
	for (int i = 0; i < 2; i++) {
		s.trip.pid++;
		SKIPS(&s, "crash-known");
		s.rule.name = "another rule"; /* the same death: it is one crash */
		SKIPS(&s, "crash-known");
	}
	cr_assert_eq(ledger_repeats(s.ledger, "00000000000000aa"), 2);
	s.trip.signature = "00000000000000bb";
	CAPTURES(&s);
	s.trip.signature = NULL; /* not known: nothing to compare */
	s.trip.pid++;
	CAPTURES(&s);
	s.trip.signature = "00000000000000aa";
	s.trip.pid++;
	wait_ns(&s, LEDGER_DAY_NS);
	CAPTURES(&s);
	cr_assert_eq(ledger_repeats(s.ledger, "00000000000000aa"), 0);
	end(&s);
}

Test(rule, what_captures_nothing_knows_no_limit_of_the_host)
{
	struct scene s = begin((struct rule){.what = {.kind = CORE_NONE}}, &limits);

	for (int i = 0; i < 20; i++)
		CAPTURES(&s);
	s.rule.what.kind = CORE_FULL;
	CAPTURES(&s);
	end(&s);
}

Test(rule, a_refusal_says_until_when)
{
	struct scene s = begin((struct rule){.every_ns = 100, .count = 2}, NULL);
	int64_t until = 0, then = (int64_t)s.now.boot_ns;

	cr_assert_null(rule_refusal(&s.rule, s.ledger, &s.trip, &s.now, &until));
	CAPTURES(&s);
	wait_ns(&s, 40);
	cr_assert_str_eq(rule_refusal(&s.rule, s.ledger, &s.trip, &s.now, &until), "too-soon");
	cr_assert_eq(until, then + 100);
	wait_ns(&s, 60);
	CAPTURES(&s);
	cr_assert_str_eq(rule_refusal(&s.rule, s.ledger, &s.trip, &s.now, &until), "count-reached");
	cr_assert_eq(until, RULE_NEVER_FREE);
	end(&s);
}

Test(rule, times_past_all_limits_do_not_overflow)
{
	struct scene s = begin((struct rule){.every_ns = UINT64_MAX}, NULL);
	int64_t until = 0;

	CAPTURES(&s);
	cr_assert_str_eq(rule_refusal(&s.rule, s.ledger, &s.trip, &s.now, &until), "too-soon");
	cr_assert_eq(until, RULE_NEVER_FREE);
	end(&s);
}
