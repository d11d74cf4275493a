/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "rules/request.h"

#define S NSEC_PER_SEC

static struct request request_of(uint64_t cookie, const char *path, uint64_t age_ns)
{
	struct request r = {.cookie = cookie, .number = 1000 + cookie, .age_ns = age_ns};

	strcpy(r.path, path);
	return r;
}

static struct request answer_of(uint64_t cookie, const char *path, uint64_t age_ns, unsigned status)
{
	struct request r = request_of(cookie, path, age_ns);

	r.answered = true;
	r.status = status;
	return r;
}

static enum request_trip pass(
	struct request_state *s, const struct request *r, size_t n, uint64_t answered, uint64_t now)
{
	const struct request *culprit;
	enum request_trip trip;

	cr_assert_eq(request_state_pass(s, r, n, answered, now, &trip, &culprit), 0);
	return trip;
}

Test(request, a_request_is_one_point_however_often_it_is_seen)
{
	const struct request_rule rule = {.slow_ns = S, .count = 2, .count_ns = 60 * S};
	const struct request one = request_of(1, "/a", 1 * S), again = request_of(1, "/a", 2 * S);
	const struct request done = answer_of(1, "/a", 3 * S, 200);
	struct request_state *s = NULL;

	cr_assert_eq(request_state_new(&rule, &s), 0);
	cr_assert_eq(pass(s, &one, 1, 0, 10 * S), REQUEST_TRIP_NONE);
	cr_assert_eq(pass(s, &again, 1, 0, 11 * S), REQUEST_TRIP_NONE);
	cr_assert_eq(request_state_answer(s, &done, 12 * S), REQUEST_TRIP_NONE);
	cr_assert_eq(request_state_points(s, 12 * S), 1);
	request_state_free(s);
}

Test(request, an_answer_that_comes_after_the_next_pass_is_no_second_point)
{
	const struct request_rule rule = {.slow_ns = S, .count = 2, .count_ns = 60 * S};
	const struct request one = request_of(1, "/a", 1 * S),
			     done = answer_of(1, "/a", 3 * S, 200);
	struct request_state *s = NULL;

	cr_assert_eq(request_state_new(&rule, &s), 0);
	pass(s, &one, 1, 0, 10 * S);
	pass(s, NULL, 0, 0, 11 * S);
	cr_assert_eq(request_state_answer(s, &done, 11 * S), REQUEST_TRIP_NONE);
	cr_assert_eq(request_state_points(s, 11 * S), 1);
	request_state_free(s);
}

Test(request, the_tenth_trips_and_not_the_ninth)
{
	const struct request_rule rule = {.slow_ns = S, .count = 10, .count_ns = 60 * S};
	struct request_state *s = NULL;

	cr_assert_eq(request_state_new(&rule, &s), 0);
	for (uint64_t round = 0; round < 2; round++)
		for (uint64_t i = 1; i <= 10; i++) {
			uint64_t now = (100 * round + 5 * i) * S, cookie = 100 * round + i;
			/* Every other one ends between two passes. */
			const struct request r = i % 2 ? request_of(cookie, "/a", S)
						       : answer_of(cookie, "/a", S, 200);
			enum request_trip trip =
				i % 2 ? pass(s, &r, 1, 0, now) : request_state_answer(s, &r, now);

			cr_assert_eq(trip, i == 10 ? REQUEST_TRIP_SLOW : REQUEST_TRIP_NONE,
				"round %lu, request %lu", round, i);
		}
	request_state_free(s);
}

Test(request, points_grow_old)
{
	const struct request_rule rule = {.slow_ns = S, .count = 3, .count_ns = 10 * S};
	struct request_state *s = NULL;
	uint64_t times[] = {100, 105, 111, 112, 113};

	cr_assert_eq(request_state_new(&rule, &s), 0);
	for (uint64_t i = 0; i < 5; i++) {
		const struct request r = answer_of(i, "/a", S, 200);

		cr_assert_eq(request_state_answer(s, &r, times[i] * S),
			i == 3 ? REQUEST_TRIP_SLOW : REQUEST_TRIP_NONE, "%lu", i);
	}
	request_state_free(s);
}

Test(request, only_paths_that_are_wanted_count)
{
	char *wanted[] = {"/api/*", "/x"}, *not [] = {"*/health"};
	struct request_rule rule = {.paths = {wanted, 2}, .excludes = {not, 1}};
	const struct request api = request_of(1, "/api/a", S), x = request_of(1, "/x", S),
			     other = request_of(1, "/y", S),
			     health = request_of(1, "/api/health", S),
			     no_path = request_of(1, "", S);

	cr_assert(request_rule_wants(&rule, &api));
	cr_assert(request_rule_wants(&rule, &x));
	cr_assert_not(request_rule_wants(&rule, &other));
	cr_assert_not(request_rule_wants(&rule, &health));
	cr_assert_not(request_rule_wants(&rule, &no_path));
	rule.paths.n = 0;
	cr_assert(request_rule_wants(&rule, &no_path), "an exclude alone leaves the rest in");
}

Test(request, a_share_needs_five_requests)
{
	const struct request_rule rule = {.slow_ns = S, .share = 80000, .share_ns = 120 * S};
	struct request stuck[5];
	struct request_state *s = NULL;

	for (uint64_t i = 0; i < 5; i++)
		stuck[i] = request_of(i, "/a", S);
	cr_assert_eq(request_state_new(&rule, &s), 0);
	cr_assert_eq(
		pass(s, NULL, 0, 1000, 9 * S), REQUEST_TRIP_NONE, "answers before do not count");
	cr_assert_eq(pass(s, stuck, 4, 1000, 10 * S), REQUEST_TRIP_NONE);
	cr_assert_eq(pass(s, stuck, 5, 1000, 11 * S), REQUEST_TRIP_SHARE);
	request_state_free(s);
}

Test(request, fast_ones_keep_a_share_low)
{
	const struct request_rule rule = {.slow_ns = S, .share = 50000, .share_ns = 120 * S};
	struct request stuck[6];
	struct request_state *s = NULL;

	for (uint64_t i = 0; i < 6; i++)
		stuck[i] = request_of(i, "/a", S);
	cr_assert_eq(request_state_new(&rule, &s), 0);
	pass(s, NULL, 0, 0, 9 * S);
	cr_assert_eq(pass(s, stuck, 5, 6, 10 * S), REQUEST_TRIP_NONE, "5 of 11");
	cr_assert_eq(pass(s, stuck, 6, 6, 11 * S), REQUEST_TRIP_SHARE, "6 of 12");
	request_state_free(s);
}

Test(request, a_share_of_some_paths_is_of_their_answers)
{
	char *wanted[] = {"/a"};
	const struct request_rule rule = {
		.slow_ns = S, .share = 80000, .share_ns = 120 * S, .paths = {wanted, 1}};
	struct request_state *s = NULL;
	struct request fast = answer_of(1, "/b", 0, 200), slow[5];

	cr_assert(request_rule_needs_every_answer(&rule));
	cr_assert_eq(request_state_new(&rule, &s), 0);
	for (uint64_t i = 0; i < 100; i++)
		request_state_answer(s, &fast, 10 * S);
	for (uint64_t i = 0; i < 5; i++)
		slow[i] = request_of(10 + i, "/a", S);
	cr_assert_eq(pass(s, slow, 5, 0, 11 * S), REQUEST_TRIP_SHARE);
	request_state_free(s);
}

Test(request, statuses_are_points_of_their_own)
{
	const struct request_rule rule = {
		.status_min = 500, .status_max = 599, .count = 2, .count_ns = 10 * S};
	const struct request good = answer_of(1, "/a", 0, 200), bad = answer_of(2, "/a", 0, 503);
	struct request_state *s = NULL;

	cr_assert_eq(request_state_new(&rule, &s), 0);
	cr_assert_eq(request_state_answer(s, &bad, S), REQUEST_TRIP_NONE);
	cr_assert_eq(request_state_answer(s, &good, 2 * S), REQUEST_TRIP_NONE);
	cr_assert_eq(request_state_answer(s, &bad, 3 * S), REQUEST_TRIP_STATUS);
	request_state_free(s);
}

Test(request, parses)
{
	uint64_t n, ns;
	unsigned int low, high;

	cr_assert_eq(request_parse_count("10/60s", &n, &ns), 0);
	cr_assert(n == 10 && ns == 60 * S);
	cr_assert_eq(request_parse_count("10", &n, &ns), -EINVAL);
	cr_assert_eq(request_parse_count("0/60s", &n, &ns), -ERANGE);
	cr_assert_eq(request_parse_count("3/0s", &n, &ns), -ERANGE);
	cr_assert_eq(request_parse_count("/60s", &n, &ns), -EINVAL);
	cr_assert_eq(request_parse_share("80%/2m", &n, &ns), 0);
	cr_assert(n == 80000 && ns == 120 * S);
	cr_assert_eq(request_parse_share("80/2m", &n, &ns), -EINVAL);
	cr_assert_eq(request_parse_share("101%/2m", &n, &ns), -ERANGE);
	cr_assert_eq(request_parse_status("500-599", &low, &high), 0);
	cr_assert(low == 500 && high == 599);
	cr_assert_eq(request_parse_status("503", &low, &high), 0);
	cr_assert(low == 503 && high == 503);
	cr_assert_eq(request_parse_status("599-500", &low, &high), -ERANGE);
	cr_assert_eq(request_parse_status("5xx", &low, &high), -EINVAL);
	cr_assert_eq(request_parse_status("", &low, &high), -EINVAL);
}
