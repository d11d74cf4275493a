/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "target/stat.h"

Test(stat, a_name_may_hold_anything)
{
	const char *line =
		"42 (a) R 1 (b) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 98765 1 2";
	struct stat_line s;

	cr_assert_eq(stat_parse(line, strlen(line), &s), 0);
	cr_assert_str_eq(s.comm, "a) R 1 (b");
	cr_assert_eq(s.state, 'S');
	cr_assert_eq(s.ppid, 7);
	cr_assert_eq(s.cpu_ticks, 5 + 6);
	cr_assert_eq(s.threads, 3);
	cr_assert_eq(s.start_ticks, 98765);
	cr_expect(!s.exiting);
	line = "42 (a) S 7 42 42 0 -1 4194308 1 2 3 4 5 6 7 8 20 0 3 0 98765 1 2";
	cr_assert_eq(stat_parse(line, strlen(line), &s), 0);
	cr_expect(s.exiting);
}

Test(stat, what_is_no_stat_line_is_refused)
{
	static const char *const lines[] = {"", "42", "42 (a", "42 a) S 1", "42 (a) S 7", ")("};
	struct stat_line s;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_assert_eq(stat_parse(lines[i], strlen(lines[i]), &s), -EINVAL, "'%s'", lines[i]);
}
