/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "sink/stall.h"

static char *text_of(const json_t *trigger)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	cr_assert(stall_print(out, trigger));
	cr_assert_eq(fclose(out), 0);
	return text;
}

Test(stall_report, names_the_loop_and_what_it_waits_in)
{
	char stack[] = "[<0>] pipe_read+0x1/0x2\n[<0>] vfs_read+0x3/0x4\n";
	const struct stall_report report = {.tid = 17,
		.age_ns = 1043 * NSEC_PER_MSEC,
		.loop = __NR_epoll_pwait,
		.wait = {.call = __NR_read, .channel = "pipe_read"},
		.stack = stack};
	_cleanup_json_ json_t *trigger = json_object();
	_cleanup_free_ char *text = NULL;
	const json_t *stall, *wait;

	cr_assert_eq(stall_put(trigger, &report), 0);
	cr_expect_str_eq(json_get_text(trigger, "kind", ""), "stall");
	stall = json_object_get(trigger, "stall");
	cr_expect_eq(json_get_int(stall, "tid", 0), 17);
	cr_expect_eq(json_get_int(stall, "age_ms", 0), 1043);
	cr_expect_str_eq(json_get_text(stall, "loop", ""), "epoll_pwait");
	cr_expect_not(json_object_get(stall, "runs"));
	wait = json_object_get(stall, "waits_in");
	cr_expect_str_eq(json_get_text(wait, "channel", ""), "pipe_read");
	cr_expect_eq(json_array_size(json_object_get(wait, "stack")), 2);
	text = text_of(trigger);
	cr_expect_str_eq(
		text, "event loop (epoll_pwait) has not gone back for 1.04 s, in thread 17 (read)");
}

Test(stall_report, says_that_it_runs)
{
	const struct stall_report report = {.tid = 17,
		.age_ns = 2 * NSEC_PER_SEC,
		.loop = __NR_ppoll,
		.wait = {.call = -1, .runs = true}};
	_cleanup_json_ json_t *trigger = json_object();
	_cleanup_free_ char *text = NULL;

	cr_assert_eq(stall_put(trigger, &report), 0);
	cr_expect(json_is_true(json_object_get(json_object_get(trigger, "stall"), "runs")));
	text = text_of(trigger);
	cr_expect_str_eq(
		text, "event loop (ppoll) has not gone back for 2.00 s, in thread 17, which runs");
	json_object_clear(trigger);
	cr_expect_not(stall_print(stdout, trigger));
}
