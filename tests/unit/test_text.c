/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

#define SEC 1000000000ULL

static void shows(const char *in, size_t len, size_t max, const char *expected)
{
	_cleanup_free_ char *out = text_printable(in, len, max);

	cr_assert_not_null(out);
	cr_assert_str_eq(out, expected);
}

Test(text, printable_keeps_what_a_terminal_may_show)
{
	shows("worker-1", 8, 64, "worker-1");
	shows("größe", strlen("größe"), 64, "größe");
}

Test(text, printable_disarms_control_and_escape_characters)
{
	shows("a\nb\x1b[31m", 8, 64, "a\\x0ab\\x1b[31m");
	shows("a\\b", 3, 64, "a\\\\b");
	shows("\0", 1, 64, "\\x00");
	/* C1 control (CSI as one character) and a right-to-left override */
	shows("\xc2\x9b", 2, 64, "\\xc2\\x9b");
	shows("\xe2\x80\xae", 3, 64, "\\xe2\\x80\\xae");
}

Test(text, printable_escapes_bytes_that_are_not_utf8)
{
	shows("\xff", 1, 64, "\\xff");
	shows("\xc0\xaf", 2, 64, "\\xc0\\xaf");		 /* overlong '/' */
	shows("\xed\xa0\x80", 3, 64, "\\xed\\xa0\\x80"); /* surrogate */
	shows("\xe2\x82", 2, 64, "\\xe2\\x82");		 /* ends too early */
}

Test(text, printable_marks_a_cut_and_never_splits_a_character)
{
	shows("abcdef", 6, 3, "abc…");
	shows("ab€", 5, 4, "ab…");
}

Test(text, utf8_leaves_control_characters_to_the_json_writer)
{
	_cleanup_free_ char *out = text_utf8("a\n\x1b\xff", 4, 64);

	cr_assert_str_eq(out, "a\n\x1b\\xff");
}

Test(text, filename_cannot_leave_its_directory)
{
	char out[16];

	text_filename("../../etc/passwd", out, sizeof(out));
	cr_assert_null(strchr(out, '/'));
	cr_assert_neq(out[0], '.');
	text_filename("", out, sizeof(out));
	cr_assert_str_eq(out, "_");
	text_filename("Web Server\n", out, sizeof(out));
	cr_assert_str_eq(out, "web_server_");
	text_filename("a-name-longer-than-the-buffer", out, sizeof(out));
	cr_assert_eq(strlen(out), sizeof(out) - 1);
}

Test(text, glob_crosses_slashes)
{
	cr_assert(text_glob("/usr/*/nginx", "/usr/local/sbin/nginx"));
	cr_assert(text_glob("ngin?", "nginx"));
	cr_assert_not(text_glob("nginx", "nginx2"));
}

Test(text, numbers_are_strict)
{
	uint64_t v = 7;

	cr_assert_eq(text_parse_u64("18446744073709551615", &v), 0);
	cr_assert_eq(v, UINT64_MAX);
	cr_assert_eq(text_parse_u64("18446744073709551616", &v), -ERANGE);
	cr_assert_eq(text_parse_u64("-1", &v), -EINVAL);
	cr_assert_eq(text_parse_u64(" 1", &v), -EINVAL);
	cr_assert_eq(text_parse_u64("1x", &v), -EINVAL);
	cr_assert_eq(text_parse_u64("", &v), -EINVAL);
}

Test(text, sizes_take_binary_units)
{
	uint64_t v;

	cr_assert_eq(text_parse_size("10", &v), 0);
	cr_assert_eq(v, 10u);
	cr_assert_eq(text_parse_size("1.5G", &v), 0);
	cr_assert_eq(v, 3ULL << 29);
	cr_assert_eq(text_parse_size("2MiB", &v), 0);
	cr_assert_eq(v, 2ULL << 20);
	cr_assert_eq(text_parse_size("2 M", &v), -EINVAL);
	cr_assert_eq(text_parse_size("99999999999T", &v), -ERANGE);
}

Test(text, durations_default_to_seconds)
{
	uint64_t v;

	cr_assert_eq(text_parse_duration("10", &v), 0);
	cr_assert_eq(v, 10 * SEC);
	cr_assert_eq(text_parse_duration("250ms", &v), 0);
	cr_assert_eq(v, SEC / 4);
	cr_assert_eq(text_parse_duration("1.5h", &v), 0);
	cr_assert_eq(v, 5400 * SEC);
	cr_assert_eq(text_parse_duration("1y", &v), -EINVAL);
	cr_assert_eq(text_parse_duration("-1s", &v), -EINVAL);
}

Test(text, sizes_are_shown_short)
{
	char buf[16];

	cr_assert_str_eq(text_format_size(17, buf, sizeof(buf)), "17 B");
	cr_assert_str_eq(text_format_size(1536, buf, sizeof(buf)), "1.5 KiB");
}
