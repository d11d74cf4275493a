/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "rules/shares.h"
#include "sink/threshold.h"

#define SECOND 1000000000ULL

static struct shares_look look(struct thread_sample *threads, size_t n, uint64_t at, uint64_t used)
{
	return (struct shares_look){threads, n, at * SECOND, used * SECOND};
}

static struct thread_sample thread(pid_t tid, uint64_t used)
{
	struct thread_sample t = {.tid = tid, .cpu_ns = used * SECOND};

	snprintf(t.comm, sizeof(t.comm), "t%d", (int)tid);
	return t;
}

Test(shares, are_of_the_time_between_two_looks)
{
	struct thread_sample from[] = {thread(3, 1000), thread(1, 7), thread(2, 0)};
	struct thread_sample to[] = {thread(1, 7), thread(2, 6), thread(3, 1002), thread(9, 1)};
	struct shares_look a = look(from, 3, 100, 2000), b = look(to, 4, 110, 2010);
	struct shares s;

	shares_compute(&a, &b, &s);
	cr_assert_eq(s.n, 3); /* one used nothing */
	cr_assert_eq(s.window_ns, 10 * SECOND);
	cr_assert_eq(s.top[0].tid, 2);
	cr_assert_str_eq(s.top[0].comm, "t2");
	cr_assert_eq(s.top[0].share, 60000);
	cr_assert_eq(s.top[0].cpu, 60000);
	cr_assert_eq(s.top[1].tid, 3);
	cr_assert_eq(s.top[1].share, 20000);
	cr_assert_eq(s.top[2].tid, 9); /* began meanwhile */
	cr_assert_eq(s.more, 0);
	cr_assert_eq(s.rest, 10000); /* of threads that ended */
}

Test(shares, take_less_than_before_for_another_thread)
{
	struct thread_sample from[] = {thread(1, 50)}, to[] = {thread(1, 4)};
	struct shares_look a = look(from, 1, 0, 50), b = look(to, 1, 4, 54);
	struct shares s;

	shares_compute(&a, &b, &s);
	cr_assert_eq(s.top[0].used_ns, 4 * SECOND);
	cr_assert_eq(s.top[0].share, 100000);
	cr_assert_eq(s.rest, 0);
}

/* Two cores' worth, and looks at the threads that come behind the one at the process. */
Test(shares, never_make_up_more_than_all)
{
	struct thread_sample to[] = {thread(1, 4), thread(2, 4)};
	struct shares_look a = look(NULL, 0, 0, 0), b = look(to, 2, 4, 7);
	struct shares s;

	shares_compute(&a, &b, &s);
	cr_assert_eq(s.top[0].share + s.top[1].share, 100000);
	cr_assert_eq(s.top[0].cpu, 100000);
}

Test(shares, sum_up_what_is_beyond_the_top)
{
	struct thread_sample to[25];
	struct shares_look a = look(NULL, 0, 0, 0), b = look(to, 25, 10, 25);
	struct shares s;

	for (int i = 0; i < 25; i++)
		to[i] = thread(i + 1, 1);
	shares_compute(&a, &b, &s);
	cr_assert_eq(s.n, SHARES_TOP);
	cr_assert_eq(s.more, 15);
	cr_assert_eq(s.rest, 60000);
	cr_assert_eq(s.top[0].share, 4000);
}

Test(shares, of_nothing_are_nothing)
{
	struct shares_look a = look(NULL, 0, 5, 5), b = look(NULL, 0, 5, 5);
	struct shares s;

	shares_compute(&a, &b, &s);
	cr_assert_eq(s.n, 0);
	cr_assert_eq(s.rest, 0);
	cr_assert_eq(s.window_ns, 0);
}

Test(shares, are_told_of_a_trip_on_cpu_alone)
{
	struct shares s = {.top = {{.tid = 7, .comm = "a\x1b\xff", .share = 87500, .cpu = 91250}},
		.n = 1,
		.more = 2,
		.rest = 12500,
		.window_ns = 3 * SECOND};
	_cleanup_json_ json_t *trigger = json_object();
	_cleanup_free_ char *text = NULL;

	cr_assert_eq(threshold_put_shares(trigger, &s), 0);
	cr_assert_eq(json_object_size(trigger), 0);
	json_put(trigger, "cpu", json_object());
	cr_assert_eq(threshold_put_shares(trigger, &s), 0);
	text = json_dumps(json_object_get(trigger, "cpu"), JSON_COMPACT | JSON_DIGITS);
	cr_assert_str_eq(text, "{\"threads\":[{\"tid\":7,\"comm\":\"a\\u001B\\\\xff\","
			       "\"share\":87.5,\"cpu_percent\":91.25}],\"threads_ms\":3000,"
			       "\"more_threads\":2,\"other_share\":12.5}");
}
