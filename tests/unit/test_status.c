/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "lib/clock.h"
#include "rules/status.h"
#include "target/usage.h"

#define S NSEC_PER_SEC

Test(status, from_armed_to_spent)
{
	struct rule r = {.name = "r",
		.armed = 1u << CONDITION_CPU,
		.interval_ns = S,
		.for_ns = 3 * S,
		.every_ns = 30 * S,
		.count = 2};
	struct measure m = {.sample = {.pid = 1, .time_ns = 1000 * S}, .fds = USAGE_UNKNOWN};
	struct clock_pair now = {1000 * S, 1790000000 * S};
	struct breach *b = NULL;
	struct ledger *l = NULL;
	struct breach_reading reading;
	unsigned int captures = 0;

	r.conditions[CONDITION_CPU].limit = 80000;
	cr_assert_eq(breach_new(&r, &b), 0);
	cr_assert_eq(ledger_new(NULL, &l), 0);
	for (int i = 0; i <= 80; i++, now.boot_ns += S, m.sample.time_ns += S) {
		struct trip trip;
		struct status status;

		m.sample.cpu_ns += i ? S : 0;
		breach_feed(b, &m, &reading);
		trip = trip_by_sample(CONDITION_CPU, &m.sample);
		if (reading.phase == BREACH_TRIPPED)
			captures += rule_decide(&r, l, &trip, &now).capture;
		status = status_of(&r, l, &trip, breach_last(b), &now);
		if (i == 0) {
			cr_expect_eq(status.phase, STATUS_ARMED);
		} else if (i < 3) {
			cr_expect_eq(status.phase, STATUS_BREACHING, "second %d", i);
			cr_expect_eq(status.since_ns, (int64_t)(1000 * S));
		} else if (i < 33) {
			cr_expect_eq(status.phase, STATUS_COOLING, "second %d", i);
			cr_expect_str_eq(status.reason, "too-soon");
			cr_expect_eq(status.until_ns, (int64_t)(1033 * S));
		} else { /* it is at 100 % all the time, so it trips at once */
			cr_expect_eq(status.phase, STATUS_SPENT, "second %d", i);
			cr_expect_str_eq(status.reason, "count-reached");
		}
	}
	cr_expect_eq(captures, 2);
	breach_free(b);
	ledger_free(l);
}

Test(status, a_rule_without_thresholds)
{
	struct rule r = {.name = "r", .fatal_signals = 1, .min_age_ns = 10 * S};
	struct clock_pair now = {1000 * S, 1790000000 * S};
	struct trip process = {.kind = TRIP_SIGNAL, .pid = 1, .age_ns = 4 * S};
	struct ledger *l = NULL;
	struct status status;

	cr_assert_eq(ledger_new(NULL, &l), 0);
	status = status_of(&r, l, &process, NULL, &now);
	cr_expect_eq(status.phase, STATUS_COOLING);
	cr_expect_str_eq(status.reason, "too-young");
	cr_expect_eq(status.until_ns, (int64_t)(1006 * S));
	process.age_ns = 10 * S;
	cr_expect_eq(status_of(&r, l, &process, NULL, &now).phase, STATUS_ARMED);
	ledger_free(l);
}
