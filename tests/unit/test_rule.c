/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>

#include "lib/clock.h"
#include "lib/signals.h"
#include "rules/rule.h"

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

Test(rule, count_is_of_captures)
{
	struct rule r = {.name = "r", .count = 2};
	struct rule_state s = {};
	struct event e = death_by(SIGSEGV);

	cr_assert(rule_decide(&r, &s, &e, 1).capture);
	cr_assert(rule_decide(&r, &s, &e, 2).capture);
	cr_assert(rule_is_spent(&r, &s));
	cr_assert_str_eq(rule_decide(&r, &s, &e, 3).skip_reason, "count-reached");
	rule_give_back(&s); /* one of the two failed */
	cr_assert(rule_decide(&r, &s, &e, 4).capture);
}

Test(rule, spacing_is_from_the_last_capture)
{
	struct rule r = {.name = "r", .every_ns = 30 * NSEC_PER_SEC};
	struct rule_state s = {};
	struct event e = death_by(SIGSEGV);
	uint64_t start = 1000 * NSEC_PER_SEC;

	cr_assert(rule_decide(&r, &s, &e, start).capture);
	cr_assert_str_eq(
		rule_decide(&r, &s, &e, start + 29 * NSEC_PER_SEC).skip_reason, "too-soon");
	cr_assert(rule_decide(&r, &s, &e, start + 30 * NSEC_PER_SEC).capture);
}

Test(rule, a_killed_process_has_nothing_to_capture_and_does_not_count)
{
	struct rule r = {.name = "r", .count = 1};
	struct rule_state s = {};
	struct event e = death_by(SIGKILL);
	struct decision d = rule_decide(&r, &s, &e, 1);

	cr_assert_not(d.capture);
	cr_assert_str_eq(d.skip_reason, "memory-gone");
	cr_assert_not(rule_is_spent(&r, &s));
}

Test(rule, observing_counts_trips_and_captures_nothing)
{
	struct rule r = {.name = "r", .count = 1, .observe = true};
	struct rule_state s = {};
	struct event e = death_by(SIGKILL);
	struct decision d = rule_decide(&r, &s, &e, 1);

	cr_assert_not(d.capture);
	cr_assert_str_eq(d.skip_reason, "observe");
	cr_assert(rule_is_spent(&r, &s));
}
