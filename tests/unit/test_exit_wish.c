/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>

#include "capture/exit_tracer.h"
#include "lib/signals.h"

Test(exit_wish, ends_that_are_waited_for)
{
	struct exit_tracer t = {.wish = EXIT_WISH_ANY};

	cr_assert(exit_tracer_wants(&t, 0));
	cr_assert(exit_tracer_wants(&t, SIGKILL));
	t.ignored = SIGNAL_BIT(SIGSEGV);
	cr_assert_not(exit_tracer_wants(&t, SIGSEGV | 0x80));
	cr_assert(exit_tracer_wants(&t, SIGKILL));
	t.wish = EXIT_WISH_NONZERO;
	cr_assert_not(exit_tracer_wants(&t, 0));
	cr_assert(exit_tracer_wants(&t, 1 << 8));
	cr_assert(exit_tracer_wants(&t, SIGTERM));
	t.wish = EXIT_WISH_CODE;
	t.code = 9;
	cr_assert(exit_tracer_wants(&t, 9 << 8));
	cr_assert_not(exit_tracer_wants(&t, SIGKILL), "signal 9 is no code 9");
	t.code = 0;
	cr_assert(exit_tracer_wants(&t, 0));
	t.wish = EXIT_WISH_NONE;
	cr_assert_not(exit_tracer_wants(&t, 0));
}
