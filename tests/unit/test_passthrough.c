/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/passthrough.h"
#include "lib/cleanup.h"
#include "lib/io.h"

static const struct passthrough_values VALUES = {
	.pid = 4711,
	.tid = 4712,
	.ns_pid = 11,
	.ns_tid = 12,
	.uid = 1000,
	.gid = 100,
	.dump_mode = 1,
	.signal = 11,
	.time = 1795424400,
	.core_limit = UINT64_MAX,
	.cpu = "3",
	.hostname = "web/1",
	.comm = "a b",
	.exe = "/opt/x/server",
	.pidfd = -1,
};

static char *expand(const char *pattern, const struct passthrough_values *v)
{
	char *out = NULL;

	cr_assert_eq(passthrough_expand(pattern, v, &out, NULL), 0);
	return out;
}

Test(passthrough, every_specifier)
{
	_cleanup_free_ char *out =
		expand("%P %I %p %i %u %g %d %s %t %c %C %h %e %E %f %%", &VALUES);

	cr_expect_str_eq(out, "4711 4712 11 12 1000 100 1 11 1795424400 18446744073709551615 3 "
			      "web!1 a b !opt!x!server server %");
}

Test(passthrough, unknown_and_unfinished_specifiers_vanish)
{
	_cleanup_free_ char *out = expand("core%z.%F%", &VALUES);

	cr_expect_str_eq(out, "core.");
}

Test(passthrough, a_name_cannot_lead_elsewhere)
{
	static const struct {
		const char *comm, *becomes;
	} names[] = {
		{"..", "!."}, {".", "!"}, {"", "!"}, {"../../etc", "..!..!etc"}, {"...", "..."}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct passthrough_values v = VALUES;
		_cleanup_free_ char *out = NULL;

		v.comm = names[i].comm;
		out = expand("%e", &v);
		cr_expect_str_eq(out, names[i].becomes);
	}
}

Test(passthrough, a_process_without_a_file)
{
	struct passthrough_values v = VALUES;
	_cleanup_free_ char *out = NULL;

	v.exe = NULL;
	out = expand("%E", &v);
	cr_expect_str_eq(out, "a b (path unknown)");
}

Test(passthrough, the_pid_in_a_pattern_is_told)
{
	_cleanup_free_ char *with = NULL, *without = NULL;
	int used = -1;

	cr_assert_eq(passthrough_expand("core.%p", &VALUES, &with, &used), 0);
	cr_expect_eq(used, 1);
	cr_assert_eq(passthrough_expand("core.%P%%p", &VALUES, &without, &used), 0);
	cr_expect_eq(used, 0);
}

Test(passthrough, blanks_split_before_names_are_put_in)
{
	char **argv = NULL;

	cr_assert_eq(passthrough_command("/bin/x  %e\t-s=%s %z", &VALUES, &argv), 0);
	cr_expect_str_eq(argv[0], "/bin/x");
	cr_expect_str_eq(argv[1], "a b");
	cr_expect_str_eq(argv[2], "-s=11");
	cr_expect_str_eq(argv[3], "");
	cr_expect_null(argv[4]);
	passthrough_free(&argv);
	cr_expect_null(argv);
	cr_expect_eq(passthrough_command("  ", &VALUES, &argv), -EINVAL);
}

/* The core comes through a pipe. */
static int piped(const char *data, size_t len)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	if (fork() == 0) {
		close(ends[0]);
		_exit(io_write_all(ends[1], data, len) < 0);
	}
	close(ends[1]);
	return ends[0];
}

Test(passthrough, zeros_become_holes_and_the_limit_cuts)
{
	static char core[1 << 20];
	_cleanup_close_ int to = open("/tmp", O_TMPFILE | O_RDWR, 0600), from = -1, again = -1;
	struct stat st;
	char back[3];

	memcpy(core, "abc", 3);
	memcpy(core + sizeof(core) - 8192, "def", 3);
	from = piped(core, sizeof(core));
	cr_assert_eq(passthrough_copy(from, to, UINT64_MAX), 0);
	cr_assert_eq(fstat(to, &st), 0);
	cr_expect_eq(st.st_size, sizeof(core));
	cr_expect_leq(st.st_blocks * 512, 65536);
	cr_assert_eq(pread(to, back, 3, sizeof(core) - 8192), 3);
	cr_expect_arr_eq(back, "def", 3);

	cr_assert_eq(ftruncate(to, 0), 0);
	again = piped(core, sizeof(core));
	cr_expect_eq(passthrough_copy(again, to, 4096), -EFBIG);
	cr_assert_eq(fstat(to, &st), 0);
	cr_expect_eq(st.st_size, sizeof(core) - 8192);
}

/* This process stands for the dying one: /proc/self is the same text. */
static int serve(const char *pattern, uint64_t limit, int dump_mode, char **reason)
{
	_cleanup_close_ int task = open("/proc/thread-self", O_RDONLY | O_DIRECTORY);
	struct passthrough p = {.values = VALUES,
		.procfd = task,
		.taskfd = task,
		.pidfd = -1,
		.uses_pid = "0\n",
		.corefd = piped("core", 4)};
	int r;

	p.values.core_limit = limit;
	p.values.dump_mode = dump_mode;
	r = passthrough_serve(&p, pattern, reason);
	close(p.corefd);
	return r;
}

static void enter_scratch(void)
{
	char dir[] = "/tmp/coretrap-passthrough-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
}

TestSuite(passthrough_file, .init = enter_scratch);

static void leave(const char *const *names)
{
	_cleanup_free_ char *dir = get_current_dir_name();

	for (; *names; names++)
		unlink(*names);
	rmdir(dir);
}

Test(passthrough_file, a_core_in_the_working_directory)
{
	_cleanup_free_ char *reason = NULL;
	struct stat st;

	cr_assert_eq(serve("core.%p", UINT64_MAX, 1, &reason), 1, "%s", reason);
	cr_assert_eq(stat("core.11", &st), 0);
	cr_expect_eq(st.st_mode, S_IFREG | 0600);
	cr_expect_eq(st.st_size, 4);
	leave((const char *const[]){"core.11", NULL});
}

Test(passthrough_file, a_link_in_the_way_is_replaced_not_followed)
{
	_cleanup_free_ char *reason = NULL;
	struct stat st;

	cr_assert_eq(symlink("victim", "core"), 0);
	cr_assert_eq(serve("core", UINT64_MAX, 1, &reason), 1, "%s", reason);
	cr_expect_neq(access("victim", F_OK), 0);
	cr_assert_eq(lstat("core", &st), 0);
	cr_expect(S_ISREG(st.st_mode));
	leave((const char *const[]){"core", NULL});
}

Test(passthrough_file, links_of_proc_are_not_followed)
{
	_cleanup_free_ char *reason = NULL;

	cr_assert_eq(symlink("/proc/self/cwd", "d"), 0);
	cr_expect_lt(serve("d/core", UINT64_MAX, 1, &reason), 0);
	cr_expect_neq(access("core", F_OK), 0);
	leave((const char *const[]){"d", "core", NULL});
}

Test(passthrough_file, left_out_with_a_reason)
{
	static const struct {
		const char *pattern;
		uint64_t limit;
		int dump_mode;
	} cases[] = {{"core", 0, 1}, {"core", UINT64_MAX, 2}, {"@/run/socket", UINT64_MAX, 1}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *reason = NULL;

		cr_expect_eq(
			serve(cases[i].pattern, cases[i].limit, cases[i].dump_mode, &reason), 0);
		cr_expect_not_null(reason);
	}
	cr_expect_neq(access("core", F_OK), 0);
	leave((const char *const[]){"core", NULL});
}

Test(passthrough_file, never_itself)
{
	_cleanup_free_ char *reason = NULL;

	cr_expect_eq(
		serve("|/usr/bin/coretrap core-handler %P %I", UINT64_MAX, 1, &reason), -ELOOP);
	leave((const char *const[]){"core", NULL});
}
