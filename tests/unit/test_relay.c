/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "sink/relay.h"

static struct relay *open_relay(int ends[2])
{
	struct relay *r = NULL;

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(relay_open(ends[1], &r), 0);
	close(ends[1]);
	return r;
}

Test(relay, hands_lines_on_in_their_order)
{
	char got[64] = "";
	size_t n = 0;
	int ends[2];
	struct relay *r = open_relay(ends);

	cr_assert_eq(relay_send(r, "one\n", 4), 0);
	cr_assert_eq(relay_send(r, "two\n", 4), 0);
	relay_close(r);
	for (ssize_t k; (k = read(ends[0], got + n, sizeof(got) - 1 - n)) > 0;)
		n += (size_t)k;
	cr_assert_str_eq(got, "one\ntwo\n");
	close(ends[0]);
}

Test(relay, counts_what_nobody_reads_and_does_not_wait)
{
	static char line[100000];
	int ends[2];
	struct relay *r = open_relay(ends);
	uint64_t start = clock_now_ns(CLOCK_MONOTONIC);

	for (int i = 0; i < 200; i++)
		cr_assert_eq(relay_send(r, line, sizeof(line)), 0);
	cr_assert_lt(clock_now_ns(CLOCK_MONOTONIC) - start, 2 * NSEC_PER_SEC);
	cr_assert_gt(relay_lost(r), 100);
	relay_told(r);
	cr_assert_eq(relay_lost(r), 0);
	relay_close(r);
	cr_assert_lt(clock_now_ns(CLOCK_MONOTONIC) - start, 8 * NSEC_PER_SEC);
	close(ends[0]);
}

Test(relay, says_once_that_the_reader_is_gone)
{
	int ends[2], said = 0;
	struct relay *r = open_relay(ends);

	close(ends[0]);
	for (int i = 0; i < 200; i++) {
		int e = relay_send(r, "line\n", 5);

		cr_assert(e == 0 || e == -EPIPE);
		said += e == -EPIPE;
		usleep(1000);
	}
	cr_assert_eq(said, 1);
	relay_close(r);
}
