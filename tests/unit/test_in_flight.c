/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/in_flight_settled.h"

/* Of this process. */
static struct request request_of(enum request_protocol protocol)
{
	return (struct request){.pid = getpid(),
		.tid = gettid(),
		.cookie = 7,
		.protocol = protocol,
		.bytes_in = 20};
}

static bool tells(struct in_flight_settled *s, const struct request *r)
{
	bool told;

	cr_assert_eq(in_flight_settled_begin(s, 1), 0);
	told = in_flight_settled_tells(s, r);
	in_flight_settled_end(s);
	return told;
}

Test(in_flight_settled, complete_is_told_at_once)
{
	struct in_flight_settled s = {};
	struct request r = request_of(REQUEST_HTTP);

	cr_assert(tells(&s, &r) && tells(&s, &r));
	in_flight_settled_free(&s);
}

Test(in_flight_settled, what_has_just_come_is_told_by_the_next_scan)
{
	struct in_flight_settled s = {};
	struct request r = request_of(REQUEST_HTTP);

	r.unread = 1;
	cr_assert_not(tells(&s, &r));
	cr_assert(tells(&s, &r) && tells(&s, &r), "nobody reads it");
	in_flight_settled_free(&s);
}

Test(in_flight_settled, a_reader_that_runs_is_given_the_time)
{
	struct in_flight_settled s = {};
	struct request r = request_of(REQUEST_TLS);

	r.pid = r.tid = fork();
	if (r.pid == 0)
		for (;;)
			;
	cr_assert_not(tells(&s, &r));
	cr_assert_eq(in_flight_settled_begin(&s, 0), 0);
	in_flight_settled_end(&s);
	cr_assert_not(tells(&s, &r), "it had gone on meanwhile");
	cr_assert(tells(&s, &r));
	kill(r.pid, SIGKILL);
	waitpid(r.pid, NULL, 0);
	in_flight_settled_free(&s);
}
