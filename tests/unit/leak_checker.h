/* SPDX-License-Identifier: MIT */
/* The leak checker stops threads by ptrace at an exit. What is traced already it ends, with a
 * status of its own: a test's child that is to be traced sets this. */
#pragma once

#include <stdbool.h>

static bool leak_checker_off;

int __lsan_is_turned_off(void); /* no header of the compiler's has it */
int __lsan_is_turned_off(void)
{
	return leak_checker_off;
}
