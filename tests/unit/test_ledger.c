/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "rules/rule.h"

#define S    NSEC_PER_SEC
#define HOUR (3600 * S)
#define BOOT "0d0cb86a-6e8f-4bd1-8ad7-c3e9d1a0c0f5"
#define NEXT "7f1f4a5c-9d57-4b0e-a1c0-0a4d8f6b2e11"

static const struct clock_pair saved_at = {1000 * S, 1790000000 * S};

static struct ledger *new_ledger(const struct ledger_limits *limits)
{
	struct ledger *l = NULL;

	cr_assert_eq(ledger_new(limits, &l), 0);
	return l;
}

static uint64_t begin_at(struct ledger *l, const char *rule, pid_t pid, const char *signature,
	uint64_t keep, int64_t at)
{
	struct ledger_what what = {rule, pid, 77, signature};
	uint64_t id = 0;

	cr_assert_eq(ledger_begin(l, &what, true, keep, at, &id), 0);
	return id;
}

/* What is saved at SAVED_AT, loaded at another moment of some boot. */
static struct ledger *over_a_restart(struct ledger *l, const struct ledger_limits *limits,
	struct clock_pair now, const char *boot)
{
	_cleanup_free_ char *text = NULL;
	struct ledger *other = new_ledger(limits);

	cr_assert_eq(ledger_save(l, &saved_at, BOOT, &text), 0);
	cr_assert_eq(ledger_load(other, text, strlen(text), &now, boot), 0, "%s", text);
	ledger_free(l);
	return other;
}

Test(ledger, the_nth_last_of_each)
{
	struct ledger *l = new_ledger(NULL);
	struct ledger_what of = {"a", 1, 77, "aa"};

	begin_at(l, "a", 1, "aa", 1, 10);
	begin_at(l, "b", 1, "bb", 1, 20);
	ledger_fail(l, "a", begin_at(l, "a", 1, "aa", 1, 29), 30);
	begin_at(l, "a", 2, "aa", 1, 40);
	cr_expect_eq(ledger_capture_time(l, LEDGER_OF_RULE, &of, 1), 40);
	cr_expect_eq(ledger_capture_time(l, LEDGER_OF_RULE, &of, 2), 10);
	cr_expect_eq(ledger_capture_time(l, LEDGER_OF_RULE, &of, 3), LEDGER_NEVER);
	cr_expect_eq(ledger_capture_time(l, LEDGER_OF_PROCESS, &of, 1), 30, "failed, but stopped");
	cr_expect_eq(ledger_capture_time(l, LEDGER_OF_SIGNATURE, &of, 2), 10);
	cr_expect_eq(ledger_capture_time(l, LEDGER_OF_HOST, &of, 2), 20);
	cr_expect_eq(ledger_started(l, "a"), 2);
	cr_expect_eq(ledger_start_time(l, "a", 1), 40);
	cr_expect_eq(ledger_start_time(l, "a", 2), LEDGER_NEVER, "one was enough to keep");
	ledger_free(l);
}

Test(ledger, size_is_bounded_and_the_newest_stay)
{
	struct ledger *l = new_ledger(NULL);
	struct ledger_what of = {"r0", 0, 0, NULL};
	char name[16];

	for (int i = 0; i < (int)LEDGER_CAPTURES_MAX + 100; i++)
		begin_at(l, "many", i + 1, NULL, 1000000, i);
	cr_expect_eq(ledger_capture_time(l, LEDGER_OF_HOST, &of, LEDGER_CAPTURES_MAX), 100);
	cr_expect_eq(
		ledger_capture_time(l, LEDGER_OF_HOST, &of, LEDGER_CAPTURES_MAX + 1), LEDGER_NEVER);
	cr_expect_neq(ledger_start_time(l, "many", LEDGER_STARTS_MAX), LEDGER_NEVER);
	cr_expect_eq(ledger_start_time(l, "many", LEDGER_STARTS_MAX + 1), LEDGER_NEVER);
	cr_expect_eq(ledger_started(l, "many"), LEDGER_CAPTURES_MAX + 100);
	for (unsigned int i = 0; i < LEDGER_RULES_MAX; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		cr_assert_eq(ledger_arm(l, name, 10000 + (int64_t)i), 0);
	}
	cr_expect_eq(ledger_started(l, "many"), 0, "the quietest one");
	cr_expect_eq(ledger_armed_since(l, "r0"), 10000);
	cr_assert_eq(ledger_arm(l, "r0", 20000), 0);
	cr_assert_eq(ledger_arm(l, "another", 20000), 0);
	cr_expect_eq(ledger_armed_since(l, "r0"), 10000);
	cr_expect_eq(ledger_armed_since(l, "r1"), LEDGER_NEVER);
	ledger_forget(l, "r0");
	cr_expect_eq(ledger_armed_since(l, "r0"), LEDGER_NEVER);
	ledger_free(l);
}

Test(ledger, long_names_are_cut_and_nothing_overflows)
{
	struct ledger *l = new_ledger(NULL);
	char name[2000], signature[2000];

	memset(name, 0xff, sizeof(name) - 1); /* no UTF-8 either */
	name[sizeof(name) - 1] = '\0';
	memset(signature, 's', sizeof(signature) - 1);
	signature[sizeof(signature) - 1] = '\0';
	begin_at(l, name, 1, signature, 1, 10);
	cr_expect_eq(ledger_started(l, name), 1);
	l = over_a_restart(l, NULL, saved_at, BOOT);
	cr_expect_eq(ledger_capture_time(l, LEDGER_OF_HOST, &(struct ledger_what){}, 1), 10);
	ledger_free(l);
}

Test(ledger, a_restart_within_a_boot_goes_by_the_clock_that_nobody_sets)
{
	/* The time of day was set by years in between, to and fro. */
	const uint64_t clocks[] = {saved_at.real_ns, saved_at.real_ns - 100000 * HOUR,
		saved_at.real_ns + 100000 * HOUR};

	for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
		struct ledger *l = new_ledger(NULL);
		struct ledger_what of = {"r", 5, 77, "aa"};
		uint64_t id;

		cr_assert_eq(ledger_arm(l, "r", 400 * S), 0);
		begin_at(l, "r", 5, "aa", 2, 500 * S);
		begin_at(l, "r", 5, "aa", 2, 600 * S);
		ledger_repeat(l, &(struct ledger_what){"r", 6, 77, "aa"});
		l = over_a_restart(l, NULL, (struct clock_pair){1010 * S, clocks[i]}, BOOT);
		cr_expect_eq(ledger_started(l, "r"), 2);
		cr_expect_eq(ledger_armed_since(l, "r"), 400 * (int64_t)S);
		cr_expect_eq(ledger_start_time(l, "r", 1), 600 * (int64_t)S);
		cr_expect_eq(ledger_start_time(l, "r", 2), 500 * (int64_t)S);
		cr_expect_eq(ledger_capture_time(l, LEDGER_OF_PROCESS, &of, 1), 600 * (int64_t)S);
		cr_expect_eq(ledger_capture_time(l, LEDGER_OF_SIGNATURE, &of, 2), 500 * (int64_t)S);
		cr_expect_eq(ledger_repeats(l, "aa"), 1);
		/* Ids begin anew: a failure now is not one of before. */
		id = begin_at(l, "r", 5, "aa", 2, 1010 * S);
		ledger_fail(l, "r", id, 1010 * S);
		cr_expect_eq(ledger_capture_time(l, LEDGER_OF_RULE, &of, 2), 500 * (int64_t)S);
		ledger_free(l);
	}
}

Test(ledger, another_boot_goes_by_the_time_of_day)
{
	struct {
		int64_t passed_s; /* by CLOCK_REALTIME since it was saved */
		int64_t age_s;	  /* of what was 400 s old then */
	} cases[] = {{100, 500}, {0, 400}, {-100000, 400}, {86400, 86800}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ledger *l = new_ledger(NULL);
		struct ledger_what of = {"r", 5, 77, "aa"};
		/* This boot has lasted less long than that one, or longer. */
		uint64_t up = i % 2 ? 30 * S : 5000 * S;
		struct clock_pair now = {
			up, saved_at.real_ns + (uint64_t)(cases[i].passed_s * (int64_t)S)};

		begin_at(l, "r", 5, "aa", 1, 600 * S);
		l = over_a_restart(l, NULL, now, NEXT);
		cr_expect_eq(ledger_capture_time(l, LEDGER_OF_RULE, &of, 1),
			(int64_t)up - cases[i].age_s * (int64_t)S, "case %zu", i);
		cr_expect_eq(ledger_capture_time(l, LEDGER_OF_PROCESS, &of, 1), LEDGER_NEVER,
			"the same id after a boot is another process");
		ledger_free(l);
	}
}

static bool captures(const struct rule *r, struct ledger *l, pid_t pid, uint64_t boot_ns)
{
	struct trip trip = {.kind = TRIP_CPU, .pid = pid, .start_ticks = 77};
	struct clock_pair now = {boot_ns, 1790000000 * S};

	return rule_decide(r, l, &trip, &now).capture;
}

Test(ledger, count_rate_duration_and_limits_hold_over_a_restart)
{
	struct ledger_limits limits = {
		.rule_per_day = 100, .host_per_day = 3, .process_spacing_ns = 300 * S};
	struct rule count = {.name = "count", .count = 2};
	struct rule rate = {.name = "rate", .rate_count = 2, .rate_ns = 60 * S};
	struct rule duration = {.name = "duration", .duration_ns = 100 * S};
	struct rule daily = {.name = "daily"};
	struct ledger *l = new_ledger(NULL);

	cr_assert_eq(ledger_arm(l, "duration", 950 * S), 0);
	cr_assert(captures(&count, l, 1, 990 * S));
	cr_assert(captures(&rate, l, 2, 990 * S));
	l = over_a_restart(l, NULL, saved_at, BOOT);
	cr_assert_eq(ledger_arm(l, "duration", 1000 * S), 0);
	cr_expect(captures(&count, l, 3, 1001 * S));
	cr_expect_not(captures(&count, l, 3, 2000 * S), "the third");
	cr_expect(captures(&rate, l, 3, 1002 * S));
	cr_expect_not(captures(&rate, l, 3, 1050 * S - 1), "the third in 60 s");
	cr_expect(captures(&rate, l, 3, 1050 * S));
	cr_expect(captures(&duration, l, 3, 1050 * S - 1));
	cr_expect_not(captures(&duration, l, 3, 1050 * S));
	ledger_free(l);

	l = new_ledger(&limits);
	cr_assert(captures(&daily, l, 1, 900 * S));
	cr_assert(captures(&daily, l, 2, 900 * S));
	l = over_a_restart(l, &limits, saved_at, BOOT);
	cr_expect_not(captures(&daily, l, 1, 1200 * S - 1), "the same process too soon");
	cr_expect(captures(&daily, l, 1, 1200 * S));
	cr_expect_not(captures(&daily, l, 3, 1200 * S), "the fourth of the host");
	cr_expect(captures(&daily, l, 3, 900 * S + LEDGER_DAY_NS));
	ledger_free(l);
}

Test(ledger, a_full_ledger_is_read_again)
{
	struct ledger *l = new_ledger(NULL);
	char name[16];

	for (unsigned int i = 0; i < LEDGER_RULES_MAX; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		for (int k = 0; k < 17; k++)
			begin_at(l, name, 1, "0123456789abcdef", LEDGER_STARTS_MAX, 10 + k);
	}
	l = over_a_restart(l, NULL, saved_at, BOOT);
	cr_expect_eq(ledger_started(l, "r0"), 17);
	cr_expect_eq(ledger_start_time(l, "r255", 17), 10);
	ledger_free(l);
}

#define HEAD  "{\"version\":1,\"boot_id\":\"" BOOT "\",\"boot_ns\":1000,\"real_ns\":1000,"
#define RULE  "{\"name\":\"r\",\"started\":1,\"active_ns\":5,\"starts_ns\":[5]}"
#define RULES "\"rules\":[" RULE "],"
#define CAPTURE                                                                         \
	"{\"time_ns\":5,\"rule\":\"r\",\"pid\":1,\"start_ticks\":1,\"signature\":\"\"," \
	"\"repeats\":0,\"failed\":false}"

static int load_text(const char *text, size_t size)
{
	struct clock_pair now = {2000, 2000};
	struct ledger *l = new_ledger(NULL);
	int r;

	begin_at(l, "kept", 1, NULL, 1, 1);
	r = ledger_load(l, text, size, &now, BOOT);
	cr_expect_eq(ledger_started(l, "kept"), r < 0 ? 1 : 0, "what there is stays, or goes");
	ledger_free(l);
	return r;
}

Test(ledger, what_it_reads)
{
	const char *good = HEAD RULES "\"captures\":[" CAPTURE "]}";

	cr_expect_eq(load_text(good, strlen(good)), 0);
}

Test(ledger, hostile_text_is_refused_whole)
{
	const char *const texts[] = {
		"",
		"null",
		"[]",
		"{}",
		"{\"version\":1}",
		HEAD,
		HEAD RULES "\"captures\":[" CAPTURE "]",	   /* cut */
		HEAD RULES "\"captures\":{}}",			   /* another type */
		HEAD RULES "\"captures\":[[]]}",		   /* … */
		HEAD "\"rules\":[5],\"captures\":[]}",		   /* … */
		HEAD "\"rules\":[" RULE ",null],\"captures\":[]}", /* behind a good one */
		HEAD RULES RULES "\"captures\":[]}",		   /* a key twice */
		"{\"version\":2,\"boot_id\":\"\",\"boot_ns\":1,\"real_ns\":1,"
		"\"rules\":[],\"captures\":[]}",
		"{\"version\":1,\"boot_id\":\"\",\"boot_ns\":-1,\"real_ns\":1,"
		"\"rules\":[],\"captures\":[]}",
		"{\"version\":1,\"boot_id\":\"\",\"boot_ns\":1,\"real_ns\":9223372036854775807,"
		"\"rules\":[],\"captures\":[]}",
		"{\"version\":1,\"boot_id\":\"\",\"boot_ns\":1e3,\"real_ns\":1,"
		"\"rules\":[],\"captures\":[]}",
		HEAD "\"rules\":[{\"name\":\"r\",\"started\":-1,\"active_ns\":5,\"starts_ns\":[]}],"
		     "\"captures\":[]}",
		/* later than it was saved */
		HEAD "\"rules\":[{\"name\":\"r\",\"started\":1,\"active_ns\":1001,"
		     "\"starts_ns\":[]}],\"captures\":[]}",
		HEAD "\"rules\":[{\"name\":\"r\",\"started\":1,\"active_ns\":5,"
		     "\"starts_ns\":[1001]}],\"captures\":[]}",
		HEAD "\"rules\":[{\"name\":\"r\",\"started\":1,\"active_ns\":5,\"since_ns\":\"x\","
		     "\"starts_ns\":[]}],\"captures\":[]}",
		HEAD "\"rules\":[{\"name\":\"r\",\"started\":1,\"active_ns\":"
		     "-9223372036854775808,\"starts_ns\":[]}],\"captures\":[]}",
		HEAD RULES "\"captures\":[{\"time_ns\":5,\"rule\":\"r\",\"pid\":4294967297,"
			   "\"start_ticks\":1,\"signature\":\"\",\"repeats\":0,\"failed\":false}]}",
		HEAD RULES "\"captures\":[{\"time_ns\":5,\"rule\":\"r\",\"pid\":1,"
			   "\"start_ticks\":1,\"signature\":7,\"repeats\":0,\"failed\":false}]}",
		HEAD RULES "\"captures\":[{\"time_ns\":5,\"rule\":\"r\",\"pid\":1,"
			   "\"start_ticks\":1,\"signature\":\"\",\"repeats\":0,\"failed\":0}]}",
		HEAD RULES "\"captures\":[{\"time_ns\":5,\"rule\":\"r\\u0000\",\"pid\":1,"
			   "\"start_ticks\":1,\"signature\":\"\",\"repeats\":0,"
			   "\"failed\":false}]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		cr_expect_eq(load_text(texts[i], strlen(texts[i])), -EBADMSG, "text %zu", i);
}

/* N times ITEM in the list KEY. */
static char *text_with(const char *before, const char *item, size_t n, const char *behind)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs(before, out);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%s", i ? "," : "", item);
	fputs(behind, out);
	cr_assert_eq(fclose(out), 0);
	return text;
}

Test(ledger, oversized_text_is_refused)
{
	struct {
		const char *before, *item;
		size_t most;
		const char *behind;
	} cases[] = {
		{HEAD RULES "\"captures\":[", CAPTURE, LEDGER_CAPTURES_MAX, "]}"},
		{HEAD "\"rules\":[{\"name\":\"r\",\"started\":1,\"active_ns\":5,\"starts_ns\":[",
			"5", LEDGER_STARTS_MAX, "]}],\"captures\":[]}"},
	};
	_cleanup_free_ char *huge = malloc(LEDGER_TEXT_MAX + 1);
	_cleanup_free_ char *deep = text_with("", "[", 100000, "");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *fits =
			text_with(cases[i].before, cases[i].item, cases[i].most, cases[i].behind);
		_cleanup_free_ char *more = text_with(
			cases[i].before, cases[i].item, cases[i].most + 1, cases[i].behind);

		cr_expect_eq(load_text(fits, strlen(fits)), 0, "case %zu", i);
		cr_expect_eq(load_text(more, strlen(more)), -EBADMSG, "case %zu", i);
	}
	cr_assert(huge && deep);
	memset(huge, ' ', LEDGER_TEXT_MAX + 1);
	cr_expect_eq(load_text(huge, LEDGER_TEXT_MAX), -EBADMSG);
	cr_expect_eq(load_text(huge, LEDGER_TEXT_MAX + 1), -EFBIG);
	cr_expect_eq(load_text(deep, strlen(deep)), -EBADMSG);
}
