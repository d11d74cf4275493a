/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/new_file.h"
#include "store/tree.h"

static void enter_scratch(void)
{
	char dir[] = "/tmp/coretrap-new-file-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
}

static void leave_scratch(void)
{
	_cleanup_free_ char *dir = get_current_dir_name();
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	tree_clear(fd);
	close(fd);
	rmdir(dir);
}

TestSuite(new_file, .init = enter_scratch, .fini = leave_scratch);

/* As on a file system that has no nameless files: FAT, NFS. */
static void forbid_nameless_files(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	const int nameless = O_TMPFILE & ~O_DIRECTORY;

	cr_assert_eq(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EOPNOTSUPP), SCMP_SYS(openat), 1,
			     SCMP_A2(SCMP_CMP_MASKED_EQ, (scmp_datum_t)nameless,
				     (scmp_datum_t)nameless)),
		0);
	cr_assert_eq(seccomp_load(filter), 0);
	seccomp_release(filter);
}

static int entries(void)
{
	_cleanup_closedir_ DIR *dir = opendir(".");
	struct dirent *d;
	int n = 0;

	while (tree_next(dir, &d) > 0)
		n++;
	return n;
}

static int write_new(const char *text, bool replace)
{
	_cleanup_new_file_ struct new_file f = NEW_FILE_NONE;
	int r;

	cr_assert_eq(new_file_open("core", &f), 0);
	cr_assert_eq(new_file_begin(&f), 0);
	cr_assert_eq(io_write_all(f.fd, text, strlen(text)), 0);
	r = new_file_commit(&f, replace);
	cr_expect_eq(f.fd, -1);
	return r;
}

static void expect_core(const char *text)
{
	_cleanup_free_ char *now = NULL;
	struct stat st;

	cr_assert_eq(io_read_file_at(AT_FDCWD, "core", 64, &now, NULL), 0);
	cr_expect_str_eq(now, text);
	cr_assert_eq(lstat("core", &st), 0);
	cr_expect_eq(st.st_mode, (mode_t)(S_IFREG | 0600));
	cr_expect_eq(entries(), 1);
}

static void write_drop_refuse_and_replace(void)
{
	_cleanup_new_file_ struct new_file dropped = NEW_FILE_NONE;

	cr_assert_eq(new_file_open("core", &dropped), 0);
	cr_assert_eq(new_file_begin(&dropped), 0);
	new_file_discard(&dropped);
	cr_expect_eq(entries(), 0);
	cr_expect_eq(write_new("first", false), 0);
	expect_core("first");
	cr_expect_eq(write_new("second", false), -EEXIST);
	expect_core("first");
	cr_expect_eq(write_new("third", true), 0);
	expect_core("third");
	cr_assert_eq(unlink("core") | symlink("/nonexistent", "core"), 0);
	cr_expect_eq(write_new("fourth", false), -EEXIST);
	cr_expect_eq(entries(), 1);
}

Test(new_file, has_its_name_when_it_is_whole)
{
	write_drop_refuse_and_replace();
}

Test(new_file, does_without_nameless_files)
{
	forbid_nameless_files();
	write_drop_refuse_and_replace();
}

Test(new_file, a_directory_is_no_file)
{
	struct new_file f = NEW_FILE_NONE;

	cr_expect_eq(new_file_open("core/", &f), -EISDIR);
	cr_expect_eq(new_file_open("nowhere/core", &f), -ENOENT);
}
