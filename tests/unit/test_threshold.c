/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "sink/feed.h"
#include "sink/incident.h"
#include "sink/threshold.h"
#include "target/usage.h"

#define MIB (1024ULL * 1024)

static const struct measure measure = {
	.sample = {.pid = 42, .anonymous = 500 * MIB, .file = 100 * MIB, .threads = 120},
	.fds = 1024,
};

/* One condition of a rule, how it tripped, and the two things that are made of it. */
struct example {
	struct rule rule;
	struct breach_reading reading;
	const char *json, *text;
};

#define ONE(kind_, limit_, value_, held_s)                                                      \
	.rule = {.name = "r",                                                                   \
		.armed = 1u << (kind_),                                                         \
		.conditions = {[kind_] = {.limit = (limit_), .within_ns = 10 * NSEC_PER_SEC}}}, \
	.reading = {.phase = BREACH_TRIPPED,                                                    \
		.tripped = 1u << (kind_),                                                       \
		.value = {[kind_] = (value_)},                                                  \
		.held_ns = (held_s)*NSEC_PER_SEC}

static struct example examples[] = {
	{ONE(CONDITION_CPU, 80000, 97300, 3),
		.json = "{\"cpu\":{\"value\":97.3,\"limit\":80.0,\"base\":\"core\",\"held_ms\":"
			"3000},"
			"\"kind\":\"cpu\"}",
		.text = "cpu 97.3 % of a core for 3.0 s (limit 80 %)"},
	{ONE(CONDITION_CPU_BELOW, 500, 20, 10),
		.json = "{\"cpu\":{\"value\":0.02,\"limit\":0.5,\"base\":\"core\",\"below\":true,"
			"\"held_ms\":10000},\"kind\":\"cpu\"}",
		.text = "cpu 0.0 % of a core for 10.0 s (limit below 0.5 %)"},
	{ONE(CONDITION_MEMORY, 400 * MIB, 500 * MIB, 0),
		.json = "{\"memory\":{\"base\":\"anonymous\",\"value\":524288000,"
			"\"limit\":419430400,\"held_ms\":0},\"kind\":\"memory\"}",
		.text = "memory 500 MiB (limit 400 MiB)"},
	{ONE(CONDITION_MEMORY_BELOW, 900 * MIB, 500 * MIB, 1),
		.json = "{\"memory\":{\"base\":\"anonymous\",\"value\":524288000,"
			"\"limit\":943718400,\"below\":true,\"held_ms\":1000},\"kind\":\"memory\"}",
		.text = "memory 500 MiB for 1.0 s (limit below 900 MiB)"},
	{ONE(CONDITION_MEMORY_GROWTH, 40 * MIB, 50 * MIB, 0),
		.json = "{\"memory\":{\"base\":\"anonymous\",\"value\":524288000,"
			"\"growth\":52428800,\"growth_limit\":41943040,\"within_ms\":10000,"
			"\"held_ms\":0},\"kind\":\"memory\"}",
		.text = "memory 500 MiB, grown by 50 MiB in 10 s (limit 40 MiB)"},
	{ONE(CONDITION_THREADS, 100, 120, 0),
		.json = "{\"threads\":{\"value\":120,\"limit\":100,\"held_ms\":0},"
			"\"kind\":\"threads\"}",
		.text = "120 threads (limit 100)"},
	{ONE(CONDITION_FDS, 1000000, 1000001, 2),
		.json = "{\"fds\":{\"value\":1000001,\"limit\":1000000,\"held_ms\":2000},"
			"\"kind\":\"fds\"}",
		.text = "1000001 descriptors for 2.0 s (limit 1000000)"},
};

static char *text_of(const json_t *trigger)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	cr_assert(out);
	threshold_print(out, trigger);
	cr_assert_eq(fclose(out), 0);
	return text;
}

static void expect(const struct example *e, const char *json, const char *said)
{
	_cleanup_json_ json_t *trigger = json_object();
	_cleanup_free_ char *dumped = NULL, *text = NULL;

	cr_assert_eq(threshold_put(trigger, &e->rule, &e->reading, &measure), 0);
	dumped = json_dumps(trigger, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_DIGITS);
	text = text_of(trigger);
	cr_expect(!json || strcmp(dumped, json) == 0, "%s", dumped);
	cr_expect_str_eq(text, said);
}

Test(threshold, each_condition)
{
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++)
		expect(&examples[i], examples[i].json, examples[i].text);
}

Test(threshold, bases_and_windows_are_told)
{
	struct example cpu = examples[0], memory = examples[2];

	cpu.rule.cpu_base = CPU_BASE_MACHINE;
	expect(&cpu, NULL, "cpu 97.3 % of the machine for 3.0 s (limit 80 %)");
	cpu.rule.cpu_base = CPU_BASE_QUOTA;
	cpu.rule.window_ns = 30 * NSEC_PER_SEC;
	expect(&cpu, NULL, "cpu 97.3 % of its quota for 3.0 s of 30 s (limit 80 %)");
	memory.rule.memory_base = MEMORY_BASE_RSS;
	memory.rule.conditions[CONDITION_MEMORY] = (struct condition){90000, true, 0};
	memory.reading.value[CONDITION_MEMORY] = 93125;
	expect(&memory,
		"{\"memory\":{\"base\":\"rss\",\"value\":629145600,\"percent\":93.125,"
		"\"limit_percent\":90.0,\"held_ms\":0},\"kind\":\"memory\"}",
		"memory 600 MiB resident, 93.1 % of what it may have (limit 90 %)");
}

Test(threshold, all_of_them_are_told_and_the_first_names_the_kind)
{
	struct example e = examples[2];

	e.rule.armed |= 1u << CONDITION_MEMORY_GROWTH | 1u << CONDITION_THREADS;
	e.rule.conditions[CONDITION_MEMORY_GROWTH] =
		(struct condition){.limit = MIB, .within_ns = NSEC_PER_SEC};
	e.rule.conditions[CONDITION_THREADS].limit = 7;
	e.reading.tripped = e.rule.armed;
	e.reading.value[CONDITION_MEMORY_GROWTH] = 2 * MIB;
	e.reading.value[CONDITION_THREADS] = 8;
	expect(&e,
		"{\"memory\":{\"base\":\"anonymous\",\"value\":524288000,\"limit\":419430400,"
		"\"held_ms\":0,\"growth\":2097152,\"growth_limit\":1048576,\"within_ms\":1000},"
		"\"threads\":{\"value\":8,\"limit\":7,\"held_ms\":0},\"kind\":\"memory\"}",
		"memory 500 MiB, grown by 2.0 MiB in 1 s (limit 400 MiB), 8 threads (limit 7)");
}

Test(threshold, what_did_not_trip_is_no_trigger)
{
	struct example e = examples[0];
	_cleanup_json_ json_t *trigger = json_object();

	e.reading.tripped = 0;
	cr_expect_eq(threshold_put(trigger, &e.rule, &e.reading, &measure), -EINVAL);
}

Test(threshold, a_person_reads_the_trip)
{
	struct identity identity = {.pid = 42, .comm = "work\033er"};
	_cleanup_json_ json_t *trip = incident_trip_threshold(&examples[0].rule,
		&examples[0].reading, &measure, &identity, 1790000000 * NSEC_PER_SEC);
	char *text = NULL;
	size_t size;
	struct feed feed = {.out = open_memstream(&text, &size)};

	cr_assert(trip);
	cr_expect_str_eq(json_get_text(trip, "event", ""), "trip");
	cr_expect_str_eq(json_get_text(trip, "rule", ""), "r");
	cr_assert_eq(feed_write(&feed, trip), 0);
	cr_assert_eq(fclose(feed.out), 0);
	cr_expect_str_eq(
		text, "14:13:20 work\\x1ber[42]: cpu 97.3 % of a core for 3.0 s (limit 80 %)\n");
	free(text);
}
