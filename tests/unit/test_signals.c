/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "lib/signals.h"

Test(signals, names_and_numbers_agree_for_every_signal)
{
	char name[32];

	for (int sig = 1; sig <= 64; sig++) {
		if (sig == 32 || sig == 33)
			continue; /* the C library's own */
		signals_name(sig, name, sizeof(name));
		cr_assert_eq(signals_parse(name), sig, "%d is called %s", sig, name);
	}
}

Test(signals, names_may_go_without_their_prefix)
{
	cr_assert_eq(signals_parse("SEGV"), SIGSEGV);
	cr_assert_eq(signals_parse("SIGSEGV"), SIGSEGV);
	cr_assert_eq(signals_parse("11"), SIGSEGV);
	cr_assert_eq(signals_parse("SIGNONE"), -EINVAL);
	cr_assert_eq(signals_parse("0"), -EINVAL);
	cr_assert_eq(signals_parse("65"), -EINVAL);
	cr_assert_eq(signals_parse(""), -EINVAL);
}

Test(signals, core_mask_is_the_kernels)
{
	uint64_t mask = signals_core_mask();

	cr_assert(mask & SIGNAL_BIT(SIGSEGV));
	cr_assert(mask & SIGNAL_BIT(SIGSYS));
	cr_assert(mask & SIGNAL_BIT(SIGXCPU));
	cr_assert_not(mask & SIGNAL_BIT(SIGTERM));
	cr_assert_not(mask & SIGNAL_BIT(SIGKILL));
	cr_assert_not(mask & SIGNAL_BIT(64));
}

Test(signals, codes_depend_on_the_signal)
{
	cr_assert_str_eq(signals_code_name(SIGSEGV, SEGV_MAPERR), "SEGV_MAPERR");
	cr_assert_str_eq(signals_code_name(SIGBUS, BUS_ADRERR), "BUS_ADRERR");
	cr_assert_str_eq(signals_code_name(SIGABRT, SI_TKILL), "SI_TKILL");
}
