/* SPDX-License-Identifier: MIT */
/* A ledger's file may hold anything: what is taken must be bounded, lie in the past, and read the
 * same when it is saved and loaded once more. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "rules/rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct ledger *l, const struct clock_pair *now)
{
	struct rule rule = {.name = "r", .count = 3, .rate_count = 2, .rate_ns = 1, .every_ns = 1};
	struct trip trip = {.kind = TRIP_CPU, .pid = 1, .signature = "s"};
	struct ledger_what what = {"r", 1, 0, "s"};
	struct decision d = rule_decide(&rule, l, &trip, now);

	rule_give_back(l, &d, now);
	for (int of = LEDGER_OF_RULE; of <= LEDGER_OF_HOST; of++)
		if (ledger_capture_time(l, (enum ledger_of)of, &what, 1) > (int64_t)now->boot_ns)
			abort();
	if (ledger_start_time(l, "r", LEDGER_STARTS_MAX + 1) != LEDGER_NEVER)
		abort();
	ledger_repeat(l, &what);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ledger_limits limits = {3, 1, 12, 300};
	struct clock_pair now = {1000000, 1790000000 * NSEC_PER_SEC};
	_cleanup_free_ char *text = NULL, *again = NULL;
	const char *boot = size && data[size - 1] & 1 ? "b" : "another";
	struct ledger *l, *other;

	if (ledger_new(&limits, &l) < 0)
		return 0;
	if (ledger_load(l, (const char *)data, size, &now, boot) == 0) {
		ask(l, &now);
		if (ledger_new(&limits, &other) < 0 || ledger_save(l, &now, "b", &text) < 0 ||
			ledger_load(other, text, strlen(text), &now, "b") < 0 ||
			ledger_save(other, &now, "b", &again) < 0 || strcmp(text, again) != 0)
			abort();
		ledger_free(other);
	}
	ledger_free(l);
	return 0;
}
