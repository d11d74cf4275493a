/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "lib/json.h"
#include "target/unwind.h"

#define APP(address, offset)      \
	"{\"address\":\"" address \
	"\",\"module\":\"/bin/app\",\"build_id\":\"ab\",\"offset\":\"" offset "\"}"
#define LIBC(offset)                              \
	"{\"address\":\"0x7\",\"module\":\"/lib/" \
	"libc.so.6\",\"build_id\":\"cd\",\"offset\":\"" offset "\"}"
#define NAMED(symbol)                                          \
	"{\"address\":\"0x7\",\"module\":\"/lib/"              \
	"libc.so.6\",\"build_id\":\"cd\",\"offset\":\"0x99\"," \
	"\"symbol\":\"" symbol "\"}"

static const char *sign(int sig, const char *text, char out[17])
{
	_cleanup_json_ json_t *stack = json_loads(text, 0, NULL);

	cr_assert_not_null(stack, "%s", text);
	unwind_signature(sig, stack, out);
	cr_assert_eq(strlen(out), 16);
	return out;
}

static int same(int a_sig, const char *a, int b_sig, const char *b)
{
	char one[17], two[17];

	return strcmp(sign(a_sig, a, one), sign(b_sig, b, two)) == 0;
}

Test(signature, does_not_depend_on_addresses)
{
	cr_assert(same(11, "[" APP("0x55aa", "0x10") "," APP("0x55bb", "0x20") "]", 11,
		"[" APP("0x66aa", "0x10") "," APP("0x66bb", "0x20") "]"));
}

Test(signature, depends_on_signal_and_frames)
{
	cr_assert_not(same(11, "[" APP("0x1", "0x10") "]", 7, "[" APP("0x1", "0x10") "]"));
	cr_assert_not(same(11, "[" APP("0x1", "0x10") "]", 11, "[" APP("0x1", "0x11") "]"));
	cr_assert_not(same(11, "[" APP("0x1", "0x10") "," APP("0x1", "0x20") "]", 11,
		"[" APP("0x1", "0x20") "," APP("0x1", "0x10") "]"));
}

Test(signature, counts_a_recursion_once)
{
	cr_assert(same(11, "[" APP("0x1", "0x10") "," APP("0x1", "0x20") "," APP("0x2", "0x30") "]",
		11,
		"[" APP("0x1", "0x10") "," APP("0x1", "0x20") "," APP("0x1", "0x20") "," APP(
			"0x2", "0x30") "]"));
}

Test(signature, passes_over_the_abort_path)
{
	/* A stripped C library has names only for what it exports. */
	cr_assert(same(6,
		"[" LIBC("0x1") "," NAMED("raise") "," NAMED("abort") "," LIBC("0x2") "," NAMED(
			"free") "," APP("0x1", "0x10") "]",
		6, "[" APP("0x1", "0x10") "]"));
	cr_assert(same(6, "[{\"address\":\"0x1\",\"symbol\":\"abort\"}," APP("0x1", "0x10") "]", 6,
			  "[" APP("0x1", "0x10") "]"),
		"a static program's");
}

Test(signature, keeps_other_frames_of_the_c_library)
{
	cr_assert_not(same(11, "[" NAMED("strlen") "," APP("0x1", "0x10") "]", 11,
		"[" APP("0x1", "0x10") "]"));
	cr_assert_not(
		same(6, "[{\"address\":\"0x1\",\"symbol\":\"aborted\"}," APP("0x1", "0x10") "]", 6,
			"[" APP("0x1", "0x10") "]"));
	cr_assert_not(same(6, "[" NAMED("abort") "]", 6, "[]"), "all of it is the abort path");
}

Test(signature, without_a_build_id_takes_the_name)
{
	cr_assert(same(11, "[{\"address\":\"0x1\",\"symbol\":\"main.f\"}]", 11,
		"[{\"address\":\"0x2\",\"symbol\":\"main.f\"}]"));
	cr_assert(same(11, "[{\"address\":\"0x1\"}]", 11, "[{\"address\":\"0x2\"}]"));
	cr_assert(same(11, "[]", 11, "[]"));
}
