/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "cli/in_flight_plan.h"
#include "cli/in_flight_queue.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "sink/request.h"

static struct endpoint endpoint_of(const char *address, uint16_t port)
{
	struct endpoint e = {.family = AF_INET, .port = port};

	cr_assert_eq(inet_pton(AF_INET, address, e.address), 1);
	return e;
}

static struct request_report slow_report(void)
{
	struct request_report report = {.why = REQUEST_TRIP_SLOW,
		.request = {.pid = 7,
			.tid = 9,
			.age_ns = 1043 * NSEC_PER_MSEC,
			.bytes_in = 93,
			.protocol = REQUEST_HTTP,
			.local = endpoint_of("10.0.0.2", 80),
			.peer = endpoint_of("10.0.0.1", 4711),
			.method = "GET",
			.path = "/a\033[2J"},
		.holder = HOLDER_THREAD,
		.wait = {.call = __NR_futex, .channel = "futex_wait_queue"}};

	return report;
}

static char *text_of(const json_t *trigger)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	cr_assert(request_print(out, trigger));
	cr_assert_eq(fclose(out), 0);
	return text;
}

Test(request_report, names_the_thread_and_what_it_waits_in)
{
	struct request_report report = slow_report();
	_cleanup_json_ json_t *trigger = json_object();
	_cleanup_free_ char *text = NULL;
	const json_t *request, *wait;
	char stack[] = "[<0>] futex_wait+0x1/0x2\n[<0>] do_futex+0x3/0x4\n";

	report.stack = stack;
	cr_assert_eq(request_put(trigger, &report), 0);
	request = json_object_get(trigger, "request");
	wait = json_object_get(request, "waits_in");
	cr_expect_str_eq(json_get_text(trigger, "kind", ""), "request");
	cr_expect_eq(json_get_int(request, "tid", 0), 9);
	cr_expect_eq(json_get_int(request, "age_ms", 0), 1043);
	cr_expect_eq(json_get_int(request, "bytes", 0), 93);
	cr_expect_str_eq(json_get_text(wait, "call", ""), "futex");
	cr_expect_eq(json_array_size(json_object_get(wait, "stack")), 2);
	cr_expect_str_eq(json_string_value(json_array_get(json_object_get(wait, "stack"), 1)),
		"do_futex+0x3/0x4");
	text = text_of(trigger);
	cr_expect(strstr(text, "from 10.0.0.1:4711 waits for 1.04 s, in thread 9 (futex)"), "%s",
		text);
	cr_expect_not(strchr(text, '\033'), "a path must not steer a terminal");
}

Test(request_report, a_request_that_is_handed_off_names_no_thread_but_peers)
{
	struct request_report report = slow_report();
	struct outbound peers[20] = {};
	_cleanup_json_ json_t *trigger = json_object();
	_cleanup_free_ char *text = NULL;
	const json_t *request;

	report.holder = HOLDER_HANDED_OFF;
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		peers[i].peer = endpoint_of("10.0.0.3", (uint16_t)(9000 + i));
	report.peers = peers;
	report.peer_count = ARRAY_SIZE(peers);
	cr_assert_eq(request_put(trigger, &report), 0);
	request = json_object_get(trigger, "request");
	cr_expect(json_is_true(json_object_get(request, "handed_off")));
	cr_expect_null(json_object_get(request, "tid"));
	cr_expect_eq(json_get_int(request, "reader", 0), 9);
	cr_expect_eq(json_array_size(json_object_get(request, "outbound")), 16);
	cr_expect_eq(json_get_int(request, "outbound_count", 0), 20);
	text = text_of(trigger);
	cr_expect(strstr(text, "handed off by thread 9 (futex), waits for 10.0.0.3:9000"), "%s",
		text);
}

Test(request_report, an_answer_has_no_holder)
{
	struct request_report report = slow_report();
	_cleanup_json_ json_t *trigger = json_object();
	_cleanup_free_ char *text = NULL;
	const json_t *request;

	report.why = REQUEST_TRIP_STATUS;
	report.request.answered = true;
	report.request.status = 503;
	cr_assert_eq(request_put(trigger, &report), 0);
	request = json_object_get(trigger, "request");
	cr_expect_null(json_object_get(request, "tid"));
	cr_expect_null(json_object_get(request, "handed_off"));
	cr_expect_eq(json_get_int(request, "status_code", 0), 503);
	text = text_of(trigger);
	cr_expect(strstr(text, "was answered 503 after 1.04 s"), "%s", text);
}

Test(request_report, unread_work_is_told)
{
	const struct unread_report report = {.socket = {.waiting = 4,
						     .room = 3,
						     .listens = true,
						     .local = endpoint_of("10.0.0.2", 80)},
		.held_ns = 2 * NSEC_PER_SEC};
	_cleanup_json_ json_t *trigger = json_object();
	_cleanup_free_ char *text = NULL;

	cr_assert_eq(unread_put(trigger, &report), 0);
	text = text_of(trigger);
	cr_expect_str_eq(text, "4 connections wait unread at 10.0.0.2:80 for 2.0 s");
}

Test(in_flight_plan, is_what_all_rules_want_together)
{
	const struct rule rules[] = {
		{.request = {.slow_ns = 5 * NSEC_PER_SEC, .share = 80000}},
		{.request = {.slow_ns = 1 * NSEC_PER_SEC, .status_min = 503, .status_max = 503}},
		{.request = {.status_min = 400, .status_max = 404}},
		{.unread_ns = 30 * NSEC_PER_SEC},
	};
	struct in_flight_plan plan;

	in_flight_plan(&(struct rule_set){rules, 4}, &plan);
	cr_expect_eq(plan.options.slow_ns, NSEC_PER_SEC);
	cr_expect_eq(plan.options.status_min, 400);
	cr_expect_eq(plan.options.status_max, 503);
	cr_expect(plan.options.count_answers && !plan.options.every_answer && plan.scans);
	cr_expect_eq(plan.interval_ns, 100 * NSEC_PER_MSEC);
	cr_expect_eq(plan.unread_interval_ns, NSEC_PER_SEC);

	in_flight_plan(&(struct rule_set){rules + 3, 1}, &plan);
	cr_expect_eq(plan.options.slow_ns, UINT64_MAX, "no request is looked for");
	cr_expect_not(plan.scans);
	cr_expect_lt(plan.interval_ns, NSEC_PER_SEC, "a timer takes less than a second");
}

Test(in_flight_queue, gives_each_process_its_own)
{
	_cleanup_(in_flight_waiting_free) struct in_flight_waiting w = {};
	const struct request *mine;
	size_t n;

	cr_assert_eq(in_flight_waiting_init(&w, 3), 0);
	w.v[w.n++] = (struct request){.pid = 3, .age_ns = 5};
	w.v[w.n++] = (struct request){.pid = 2, .age_ns = 1};
	w.v[w.n++] = (struct request){.pid = 2, .age_ns = 9};
	in_flight_waiting_sort(&w);
	mine = in_flight_waiting_of(&w, 2, &n);
	cr_assert_eq(n, 2);
	cr_expect_eq(mine[0].age_ns, 9, "the oldest is the first");
	in_flight_waiting_of(&w, 4, &n);
	cr_expect_eq(n, 0);
}
