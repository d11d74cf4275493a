/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "lib/clock.h"
#include "rules/unread.h"

#define S NSEC_PER_SEC

Test(unread, time_begins_anew_when_something_is_taken)
{
	struct unread sockets[] = {{.inode = 9, .position = 1, .waiting = 5},
		{.inode = 3, .position = 7, .waiting = 1}};
	struct unread_state *s = NULL;
	const struct unread *worst;
	uint64_t held;

	cr_assert_eq(unread_state_new(&s), 0);
	cr_assert_eq(unread_state_pass(s, sockets, 2, 10 * S, &worst, &held), 0);
	cr_assert_eq(held, 0);
	sockets[0].position = 2;
	cr_assert_eq(unread_state_pass(s, sockets, 2, 11 * S, &worst, &held), 0);
	cr_assert(worst == &sockets[1] && held == S);
	cr_assert_eq(unread_state_pass(s, sockets, 1, 13 * S, &worst, &held), 0);
	cr_assert(worst == &sockets[0] && held == 2 * S);
	cr_assert_eq(unread_state_pass(s, sockets, 0, 14 * S, &worst, &held), 0);
	cr_assert_null(worst);
	cr_assert_eq(unread_state_pass(s, sockets, 1, 15 * S, &worst, &held), 0);
	cr_assert_eq(held, 0, "it was empty in between");
	unread_state_free(s);
}
