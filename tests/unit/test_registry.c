/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/registry.h"
#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "store/tree.h"

/* A host: its settings as ordinary files, and a runtime directory. */
static struct registry_places host = {.program = "/usr/bin/coretrap", .cgroup = "/sys/fs/cgroup/x"};

static void set(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

static void enter_scratch(void)
{
	char dir[] = "/tmp/coretrap-registry-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
	cr_assert_eq(mkdir("kernel", 0755) | mkdir("fs", 0755), 0);
	set("kernel/core_pattern", "core.%p with blanks \n");
	set("kernel/core_pipe_limit", "16\n");
	set("fs/suid_dumpable", "0\n");
	host.sysctlfd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(runtime_open("run", 1, &host.runtimefd), 0);
}

static void leave_scratch(void)
{
	char *dir = get_current_dir_name();

	tree_clear(host.sysctlfd);
	rmdir(dir);
	free(dir);
}

TestSuite(registry, .init = enter_scratch, .fini = leave_scratch);

static void expect(const char *name, const char *text)
{
	_cleanup_free_ char *now = NULL;

	cr_assert_eq(io_read_file_at(AT_FDCWD, name, 4096, &now, NULL), 0);
	cr_expect_str_eq(now, text, "%s", name);
}

static void expect_untouched(void)
{
	expect("kernel/core_pattern", "core.%p with blanks \n");
	expect("kernel/core_pipe_limit", "16\n");
	expect("fs/suid_dumpable", "0\n");
	cr_expect_neq(access("run/saved", F_OK), 0);
}

/* A process that joins, and then is killed or leaves when told to. */
static pid_t other_owner(int *control)
{
	int ends[2], ready[2];
	char c;
	pid_t child;

	cr_assert_eq(pipe(ends) | pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct registry *r = NULL;

		close(ends[1]);
		if (registry_join(&host, &r, NULL) < 0 || write(ready[1], "r", 1) != 1)
			_exit(1);
		if (read(ends[0], &c, 1) == 1)
			_exit(registry_leave(&r) < 0);
		pause();
	}
	close(ends[0]);
	close(ready[1]);
	cr_assert_eq(read(ready[0], &c, 1), 1);
	close(ready[0]);
	*control = ends[1];
	return child;
}

static void let_leave(pid_t child, int control)
{
	int status;

	cr_assert_eq(write(control, "l", 1), 1);
	waitpid(child, &status, 0);
	close(control);
	cr_expect_eq(status, 0);
}

Test(registry_pattern, names_the_handler)
{
	char pattern[REGISTRY_PATTERN_MAX + 1];

	cr_assert_eq(registry_pattern("/usr/bin/coretrap", pattern, NULL), 0);
	cr_expect_str_eq(pattern, "|/usr/bin/coretrap core-handler %P %I %s %t %d %c %u %g %C %h");
	cr_expect(registry_is_ours(pattern));
	cr_expect_not(registry_is_ours("|/usr/lib/systemd/systemd-coredump %P %u"));
	cr_expect_not(registry_is_ours("core"));
	cr_expect_not(registry_is_ours(""));
}

Test(registry_pattern, refuses_what_the_kernel_would_cut_or_split)
{
	char pattern[REGISTRY_PATTERN_MAX + 1], why[REGISTRY_WHY_MAX], path[200];
	size_t fits = REGISTRY_PATTERN_MAX - strlen("| core-handler %P %I %s %t %d %c %u %g %C %h");

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[fits + 1] = '\0';
	cr_expect_eq(registry_pattern(path, pattern, why), -ENAMETOOLONG);
	cr_expect_not_null(strstr(why, "127"), "%s", why);
	path[fits] = '\0';
	cr_expect_eq(registry_pattern(path, pattern, why), 0);
	cr_expect_eq(strlen(pattern), REGISTRY_PATTERN_MAX);
	cr_expect_eq(registry_pattern("/opt/my tools/coretrap", pattern, why), -EINVAL);
	cr_expect_eq(registry_pattern("/opt/100%p/coretrap", pattern, why), -EINVAL);
	cr_expect_eq(registry_pattern("coretrap", pattern, why), -EINVAL);
}

Test(registry, what_was_there_comes_back_byte_for_byte)
{
	_cleanup_free_ char *previous = NULL;
	struct registry *r = NULL;
	int suid = -1;

	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	expect("kernel/core_pattern",
		"|/usr/bin/coretrap core-handler %P %I %s %t %d %c %u %g %C %h\n");
	expect("kernel/core_pipe_limit", "4096\n");
	expect("fs/suid_dumpable", "2\n");
	cr_assert_eq(registry_previous(host.runtimefd, &previous, &suid), 0);
	cr_expect_str_eq(previous, "core.%p with blanks ");
	cr_expect_eq(suid, 0);
	cr_expect_eq(registry_check(r), 0);
	cr_expect_eq(registry_leave(&r), 0);
	cr_expect_null(r);
	expect_untouched();
	cr_expect_eq(registry_previous(host.runtimefd, &previous, &suid), -ENOENT);
}

Test(registry, an_empty_pattern_and_a_higher_limit_are_kept)
{
	struct registry *r = NULL;

	set("kernel/core_pattern", "\n");
	set("kernel/core_pipe_limit", "9000\n");
	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	expect("kernel/core_pipe_limit", "9000\n");
	cr_expect_eq(registry_leave(&r), 0);
	expect("kernel/core_pattern", "\n");
	expect("kernel/core_pipe_limit", "9000\n");
}

Test(registry, two_owners_share_until_the_last_leaves)
{
	_cleanup_registry_owners_ struct registry_owners owners = {};
	struct registry *r = NULL;
	int control;
	pid_t other = other_owner(&control);

	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	cr_assert_eq(registry_owners(host.runtimefd, &owners), 0);
	cr_expect_eq(owners.n, 2);
	cr_expect_str_eq(owners.v[0].cgroup, "/sys/fs/cgroup/x");
	let_leave(other, control);
	expect("fs/suid_dumpable", "2\n");
	cr_expect_eq(registry_leave(&r), 0);
	expect_untouched();
}

Test(registry, what_a_killed_owner_left_is_put_back_by_the_next)
{
	_cleanup_registry_owners_ struct registry_owners owners = {};
	struct registry *r = NULL;
	int control;
	pid_t other = other_owner(&control);

	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	expect("fs/suid_dumpable", "2\n");
	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	cr_assert_eq(registry_owners(host.runtimefd, &owners), 0);
	cr_expect_eq(owners.n, 1);
	cr_expect_eq(owners.v[0].pid, getpid());
	cr_expect_eq(registry_leave(&r), 0);
	expect_untouched();
}

/* Half of the saved values are no saved values. */
Test(registry, a_restoration_that_was_cut_short_keeps_nobody_out)
{
	struct registry *r = NULL;

	cr_assert_eq(mkdir("run/saved.old", 0700), 0);
	set("run/saved.old/core_pattern", "half\n");
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(registry_join(&host, &r, NULL), 0);
		cr_expect_eq(registry_leave(&r), 0);
		expect_untouched();
		cr_expect_neq(access("run/saved.old", F_OK), 0);
	}
}

/* As a coretrap that was stopped while it held the lock. */
Test(registry, a_lock_that_is_not_given_up_stops_nobody)
{
	char why[REGISTRY_WHY_MAX] = "";
	struct registry *r = NULL, *second = NULL;
	int lock = -1;

	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	cr_assert_eq(runtime_lock(host.runtimefd, "lock", 0, &lock), 0);
	cr_expect_eq(registry_check(r), 0);
	cr_expect_eq(registry_join(&host, &second, why), -ETIMEDOUT);
	cr_expect_not_null(strstr(why, "is it stopped"), "%s", why);
	close(lock);
	cr_expect_eq(registry_leave(&r), 0);
	expect_untouched();
}

/* Without descriptors nobody can be looked at: that does not make them dead. */
Test(registry, an_owner_that_cannot_be_looked_at_lives)
{
	struct registry *r = NULL;
	struct rlimit old, few;
	int control, top;
	pid_t other = other_owner(&control);

	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	top = dup(0);
	close(top);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){(rlim_t)top + 3, old.rlim_max}; /* lock, directory, its stream */
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	cr_expect_eq(registry_leave(&r), 0);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	expect("fs/suid_dumpable", "2\n");
	let_leave(other, control);
	expect_untouched();
}

Test(registry, a_newer_pattern_of_somebody_else_is_left_alone)
{
	struct registry *r = NULL;

	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	set("kernel/core_pattern", "|/bin/theirs %p\n");
	cr_expect_eq(registry_leave(&r), 0);
	expect("kernel/core_pattern", "|/bin/theirs %p\n");
	expect("kernel/core_pipe_limit", "16\n");
	expect("fs/suid_dumpable", "0\n");
}

Test(registry, a_rewritten_pattern_becomes_the_previous_one)
{
	struct registry *r = NULL;

	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	set("kernel/core_pattern", "|/bin/theirs %p\n");
	cr_expect_eq(registry_check(r), 1);
	cr_expect_str_eq(registry_rewritten(r), "|/bin/theirs %p");
	expect("kernel/core_pattern",
		"|/usr/bin/coretrap core-handler %P %I %s %t %d %c %u %g %C %h\n");
	cr_expect_eq(registry_check(r), 0);
	cr_expect_eq(registry_leave(&r), 0);
	expect("kernel/core_pattern", "|/bin/theirs %p\n");
}

Test(registry, a_fight_is_given_up)
{
	struct registry *r = NULL;

	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	for (int i = 0; i < REGISTRY_FIGHTS_MAX; i++) {
		set("kernel/core_pattern", "theirs\n");
		cr_expect_eq(registry_check(r), 1);
	}
	set("kernel/core_pattern", "theirs\n");
	cr_expect_eq(registry_check(r), -EBUSY);
	cr_expect_eq(registry_check(r), 0, "said once");
	expect("kernel/core_pattern", "theirs\n");
	cr_expect_eq(registry_leave(&r), 0);
	expect("kernel/core_pattern", "theirs\n");
	expect("fs/suid_dumpable", "0\n");
}

Test(registry, a_setting_that_cannot_be_set_leaves_nothing_changed)
{
	char why[REGISTRY_WHY_MAX];
	struct registry *r = NULL;

	/* The last one that is set. */
	cr_assert_eq(unlink("fs/suid_dumpable") | symlink("/dev/null", "fs/suid_dumpable"), 0);
	cr_expect_lt(registry_join(&host, &r, why), 0);
	cr_expect_null(r);
	cr_expect_not_null(strstr(why, "suid_dumpable"), "%s", why);
	expect("kernel/core_pattern", "core.%p with blanks \n");
	expect("kernel/core_pipe_limit", "16\n");
}

Test(registry, a_forked_child_does_not_leave)
{
	struct registry *r = NULL;
	pid_t child;

	cr_assert_eq(registry_join(&host, &r, NULL), 0);
	child = fork();
	if (child == 0) {
		registry_leave(&r);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	expect("fs/suid_dumpable", "2\n");
	registry_leave(&r);
	expect_untouched();
}

Test(registry, the_runtime_directory_is_nobody_elses)
{
	int fd = -1;

	cr_assert_eq(symlink("run", "link") | mkdir("open", 0700) | chmod("open", 0777), 0);
	cr_expect_eq(runtime_open("link", 1, &fd), -ENOTDIR);
	cr_expect_eq(runtime_open("open", 1, &fd), -EPERM);
	cr_expect_eq(fd, -1);
}
