/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "store/store.h"
#include "store/tree.h"

/* A directory of the test's own; Criterion runs each test in a process of its own, so the current
 * directory is too. */
static void enter_scratch(void)
{
	char dir[] = "/tmp/coretrap-store-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
}

static void leave_scratch(void)
{
	char *dir = get_current_dir_name();
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	tree_clear(fd);
	close(fd);
	rmdir(dir);
	free(dir);
}

TestSuite(store, .init = enter_scratch, .fini = leave_scratch);

static const struct store_name NAME = {
	.realtime_ns = 1795424400ULL * NSEC_PER_SEC,
	.comm = "../evil\n",
	.pid = 42,
	.trigger = "sigsegv",
};

static json_t *incident(void)
{
	return json_pack("{s:s, s:i}", "event", "capture", "number", 7);
}

/* Names in the directory PATH, of any kind. */
static int count(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *d;
	int n = 0;

	cr_assert_not_null(dir);
	while (tree_next(dir, &d) > 0)
		n++;
	return n;
}

static void publish(const struct store *s, const struct store_name *name, char id[STORE_ID_MAX])
{
	_cleanup_store_entry_ struct store_entry e = STORE_ENTRY_NONE;
	_cleanup_json_ json_t *j = incident();
	_cleanup_close_ int fd = -1;

	cr_assert_eq(store_begin(s, name, &e), 0);
	cr_assert_eq(store_entry_create_file(&e, "core.zst", &fd), 0);
	cr_assert_eq(write(fd, "core", 4), 4);
	cr_assert_eq(store_publish(&e, j), 0);
	strcpy(id, e.id);
}

Test(store, a_published_capture_is_found_read_and_removed)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_items_ struct store_items items = {};
	_cleanup_json_ json_t *j = NULL;
	_cleanup_close_ int fd = -1;
	char id[STORE_ID_MAX], found[STORE_ID_MAX];
	struct stat st;

	cr_assert_eq(store_open("a/b/store", true, &s), 0);
	cr_assert_eq(store_recover(&s), 0);
	publish(&s, &NAME, id);
	cr_assert_eq(strncmp(id, "20261123T090000Z-_._evil_-42-sigsegv-", 36), 0, "%s", id);
	cr_assert_eq(store_list(&s, &items), 0);
	cr_assert_eq(items.n, 1);
	cr_assert_str_eq(items.v[0].id, id);
	cr_assert_eq(store_find(&s, "latest", found), 0);
	cr_assert_eq(store_find(&s, "20261123T", found), 0);
	cr_assert_str_eq(found, id);
	cr_assert_eq(store_find(&s, "2027", found), -ENOENT);
	cr_assert_eq(store_find(&s, "", found), -ENOENT);
	cr_assert_eq(store_load(&s, id, &j), 0);
	cr_assert_eq(json_get_int(j, "number", 0), 7);
	fd = store_open_file(&s, id, "core.zst");
	cr_assert_geq(fd, 0);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(stat("a/b/store", &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	cr_assert_eq(store_remove(&s, id), 0);
	cr_assert_eq(store_remove(&s, id), -ENOENT);
	cr_assert_eq(count("a/b/store"), 0);
}

Test(store, its_path_is_absolute_and_plain)
{
	_cleanup_free_ char *cwd = get_current_dir_name(), *expected = NULL;
	const char *const given[] = {"store", "./store/", ".//store//", NULL};
	char odd[4200];

	cr_assert_geq(asprintf(&expected, "%s/store", cwd), 0);
	snprintf(odd, sizeof(odd), "//%s/.//store/", cwd);
	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		_cleanup_store_ struct store s = STORE_NONE;

		cr_assert_eq(store_open(given[i] ? given[i] : odd, true, &s), 0);
		cr_expect_str_eq(s.path, expected);
	}
}

Test(store, an_aborted_capture_leaves_nothing)
{
	_cleanup_store_ struct store s = STORE_NONE;
	struct store_entry e = STORE_ENTRY_NONE;
	_cleanup_close_ int fd = -1;
	char found[STORE_ID_MAX];

	cr_assert_eq(store_open("store", true, &s), 0);
	cr_assert_eq(store_begin(&s, &NAME, &e), 0);
	cr_assert_eq(store_entry_create_file(&e, "core.zst", &fd), 0);
	cr_assert_eq(store_entry_create_file(&e, "core.zst", &fd), -EEXIST);
	cr_assert_eq(store_find(&s, "latest", found), -ENOENT);
	cr_assert_eq(count("store"), 1);
	store_abort(&e);
	store_abort(&e);
	cr_assert_eq(count("store"), 0);
}

Test(store, an_id_is_never_given_twice)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_items_ struct store_items items = {};
	char id[STORE_ID_MAX];

	/* So many in one second that some salts are drawn twice (birthday: 400 of 65,536). */
	cr_assert_eq(store_open("store", true, &s), 0);
	for (int i = 0; i < 400; i++)
		publish(&s, &NAME, id);
	cr_assert_eq(store_list(&s, &items), 0);
	cr_assert_eq(items.n, 400);
}

Test(store, the_newest_comes_first_and_a_beginning_must_be_unique)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_items_ struct store_items items = {};
	char ids[3][STORE_ID_MAX], found[STORE_ID_MAX];
	struct store_name name = NAME;

	cr_assert_eq(store_open("store", true, &s), 0);
	name.comm = "zzz";
	publish(&s, &name, ids[0]);
	name.comm = "mmm"; /* the same second: the later one is newer, whatever its name */
	publish(&s, &name, ids[1]);
	name.realtime_ns += NSEC_PER_SEC;
	name.comm = "aaa";
	publish(&s, &name, ids[2]);
	cr_assert_eq(store_list(&s, &items), 0);
	cr_assert_eq(items.n, 3);
	for (int i = 0; i < 3; i++)
		cr_assert_str_eq(items.v[i].id, ids[2 - i]);
	cr_assert_eq(store_find(&s, "20261123T", found), -ENOTUNIQ);
	cr_assert_eq(store_find(&s, "latest", found), 0);
	cr_assert_str_eq(found, ids[2]);
}

Test(store, recovery_takes_dead_writers_leftovers_only)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_entry_ struct store_entry alive = STORE_ENTRY_NONE;
	char id[STORE_ID_MAX];
	int status;
	pid_t writer;

	cr_assert_eq(store_open("store", true, &s), 0);
	publish(&s, &NAME, id);
	cr_assert_eq(store_begin(&s, &NAME, &alive), 0);
	writer = fork();
	if (writer == 0) {
		struct store_entry e = STORE_ENTRY_NONE;
		int fd;

		if (store_begin(&s, &NAME, &e) == 0 &&
			store_entry_create_file(&e, "core.zst", &fd) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	cr_assert_eq(waitpid(writer, &status, 0), writer);
	cr_assert(WIFSIGNALED(status));
	cr_assert_eq(count("store"), 3);
	cr_assert_eq(store_recover(&s), 1);
	cr_assert_eq(count("store"), 2);
	cr_assert_eq(faccessat(s.dirfd, id, F_OK, 0), 0);
}

/* -o may name any directory. */
Test(store, recovery_leaves_what_others_call_temporary)
{
	_cleanup_store_ struct store s = STORE_NONE;

	cr_assert_eq(store_open("store", true, &s), 0);
	cr_assert_eq(mkdirat(s.dirfd, ".tmp-thesis", 0700), 0);
	cr_assert_eq(store_recover(&s), 0);
	cr_assert_eq(faccessat(s.dirfd, ".tmp-thesis", F_OK, 0), 0);
}

Test(store, removal_follows_no_links)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_close_ int dirfd = -1;
	char id[STORE_ID_MAX];

	cr_assert_eq(mkdir("outside", 0700), 0);
	cr_assert_eq(mkdir("outside/kept", 0700), 0);
	cr_assert_eq(store_open("store", true, &s), 0);
	publish(&s, &NAME, id);
	dirfd = tree_open(s.dirfd, id);
	cr_assert_eq(symlinkat("../../outside", dirfd, "link"), 0);
	cr_assert_eq(mkdirat(dirfd, "deep", 0700), 0);
	cr_assert_eq(symlinkat("../../../outside", dirfd, "deep/link"), 0);
	cr_assert_eq(mkfifoat(dirfd, "fifo", 0600), 0);
	cr_assert_eq(symlinkat("outside", s.dirfd, "20261123T090000Z-x-1-sigsegv-0000"), 0);
	cr_assert_eq(store_open_file(&s, id, "link"), -ELOOP);
	cr_assert_eq(store_open_file(&s, id, "fifo"), -EBADMSG);
	cr_assert_lt(store_remove(&s, "20261123T090000Z-x-1-sigsegv-0000"), 0);
	cr_assert_eq(store_remove(&s, "../outside"), -ENOENT);
	cr_assert_eq(store_remove(&s, id), 0);
	cr_assert_eq(count("outside"), 1);
	cr_assert_eq(count("store"), 1); /* the link, which is no capture */
}

Test(store, damaged_incidents_are_errors)
{
	static const char *const texts[] = {"", "[1]", "{\"a\":", "\"x\"", "null"};
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_close_ int dirfd = -1, fd = -1;
	_cleanup_json_ json_t *j = NULL;
	char id[STORE_ID_MAX];

	cr_assert_eq(store_open("store", true, &s), 0);
	publish(&s, &NAME, id);
	dirfd = tree_open(s.dirfd, id);
	fd = openat(dirfd, STORE_INCIDENT, O_WRONLY);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cr_assert_eq(ftruncate(fd, 0), 0);
		cr_assert_eq(pwrite(fd, texts[i], strlen(texts[i]), 0), (ssize_t)strlen(texts[i]));
		cr_assert_eq(store_load(&s, id, &j), -EBADMSG, "%s", texts[i]);
	}
	cr_assert_eq(ftruncate(fd, STORE_INCIDENT_MAX + 1), 0);
	cr_assert_eq(store_load(&s, id, &j), -E2BIG);
	cr_assert_eq(unlinkat(dirfd, STORE_INCIDENT, 0), 0);
	cr_assert_eq(store_load(&s, id, &j), -ENOENT);
}

Test(store, wrong_places_are_told_apart)
{
	_cleanup_store_ struct store s = STORE_NONE;

	cr_assert_eq(store_open("missing", false, &s), -ENOENT);
	cr_assert_eq(mkdir("real", 0700), 0);
	cr_assert_eq(symlink("real", "link"), 0);
	cr_assert_eq(store_open("link", true, &s), -ELOOP);
	cr_assert_eq(store_open("link/", true, &s), -ELOOP);
	cr_assert_eq(symlink("nowhere", "dangling"), 0);
	cr_assert_eq(store_open("dangling", true, &s), -ELOOP);
	cr_assert_eq(faccessat(AT_FDCWD, "nowhere", F_OK, 0), -1);
	close(open("file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	cr_assert_eq(store_open("file", true, &s), -ENOTDIR);
	cr_assert_eq(store_open("file/store", true, &s), -ENOTDIR);
	cr_assert_eq(store_open("", true, &s), -EINVAL);
	cr_assert_eq(store_open("/", true, &s), -EINVAL);
	cr_assert_eq(mkdir("open", 0700), 0);
	cr_assert_eq(chmod("open", 0777), 0);
	cr_assert_eq(store_open("open", true, &s), -EACCES);
	cr_assert_eq(store_open("open/store", true, &s), -EACCES);
	cr_assert_eq(chmod("open", 01777), 0);
	cr_assert_eq(store_open("open", true, &s), -EACCES);
	cr_assert_eq(store_open("open/store", true, &s), 0);
	cr_assert_eq(s.dirfd >= 0, true);
}

Test(store, a_readable_store_is_closed_but_no_other_directory)
{
	struct store s = STORE_NONE;
	struct stat st;

	cr_assert_eq(mkdir("store", 0755), 0);
	cr_assert_eq(store_open("store", true, &s), 0);
	store_close(&s);
	stat("store", &st);
	cr_assert_eq(st.st_mode & 07777, 0700);
	cr_assert_eq(mkdir("home", 0755), 0);
	cr_assert_eq(mkdir("home/other", 0755), 0);
	cr_assert_eq(store_open("home", true, &s), 0);
	store_close(&s);
	stat("home", &st);
	cr_assert_eq(st.st_mode & 07777, 0755);
}

/* From here on: root, in a mount namespace of the test's own. */
static bool private_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

Test(store, a_store_of_another_user_is_refused)
{
	struct store s = STORE_NONE;

	cr_assert_eq(mkdir("theirs", 0700), 0);
	if (chown("theirs", 65534, 65534) < 0)
		cr_skip_test("needs root");
	cr_assert_eq(store_open("theirs", true, &s), -EPERM);
	cr_assert_eq(store_open("theirs/store", true, &s), -EACCES);
	cr_assert_eq(mkdir("shared", 0700), 0);
	cr_assert_eq(chmod("shared", 01777), 0);
	cr_assert_eq(symlink("/etc", "shared/link"), 0);
	cr_assert_eq(lchown("shared/link", 65534, 65534), 0);
	cr_assert_eq(store_open("shared/link/store", true, &s), -ELOOP);
}

Test(store, a_read_only_store_lists_and_refuses)
{
	_cleanup_store_ struct store s = STORE_NONE;
	struct store_entry e = STORE_ENTRY_NONE;
	char id[STORE_ID_MAX], found[STORE_ID_MAX];

	if (!private_mounts())
		cr_skip_test("needs root");
	cr_assert_eq(store_open("store", true, &s), 0);
	publish(&s, &NAME, id);
	store_close(&s);
	cr_assert_eq(mount("store", "store", NULL, MS_BIND, NULL), 0);
	cr_assert_eq(mount(NULL, "store", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	cr_assert_eq(store_open("store", true, &s), 0);
	cr_assert_eq(store_find(&s, "latest", found), 0);
	cr_assert_eq(store_begin(&s, &NAME, &e), -EROFS);
	cr_assert_eq(store_check_space(&s, 0, 0), -EROFS);
	cr_assert_eq(store_remove(&s, id), -EROFS);
	cr_assert_eq(umount2("store", MNT_DETACH), 0);
}

/* Fills FD with all that the file system takes. */
static void fill(int fd)
{
	static char block[4096];

	memset(block, 'x', sizeof(block));
	while (write(fd, block, sizeof(block)) > 0)
		continue;
	cr_assert_eq(errno, ENOSPC);
}

Test(store, a_full_disk_publishes_nothing_and_leaves_nothing)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_json_ json_t *j = incident();
	struct store_entry e = STORE_ENTRY_NONE;
	uint64_t available, total;
	char id[STORE_ID_MAX];
	int fd = -1;

	cr_assert_eq(mkdir("disk", 0700), 0);
	if (!private_mounts() || mount("tmpfs", "disk", "tmpfs", 0, "size=64k,mode=0700") < 0)
		cr_skip_test("needs root");
	cr_assert_eq(store_open("disk", true, &s), 0);
	cr_assert_eq(store_space(&s, &available, &total), 0);
	cr_assert_eq(total, 65536);
	cr_assert_eq(store_check_space(&s, 32768, 16384), 0);
	cr_assert_eq(store_check_space(&s, 32768, 49152), -ENOSPC);
	cr_assert_eq(store_check_space(&s, UINT64_MAX, 1), -ENOSPC);

	/* The core fits, the last byte (incident.json) does not. */
	cr_assert_eq(store_begin(&s, &NAME, &e), 0);
	cr_assert_eq(store_entry_create_file(&e, "core", &fd), 0);
	fill(fd);
	cr_assert_eq(store_publish(&e, j), -ENOSPC);
	close(fd);
	cr_assert_eq(count("disk"), 1);
	store_abort(&e);
	cr_assert_eq(count("disk"), 0);

	/* Once there is room, the same works. */
	publish(&s, &NAME, id);
	cr_assert_eq(store_remove(&s, id), 0);
	cr_assert_eq(umount2("disk", MNT_DETACH), 0);
}

Test(store, no_inode_left_is_no_space)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_json_ json_t *j = incident();
	struct store_entry e = STORE_ENTRY_NONE, other = STORE_ENTRY_NONE;
	int fd = -1;

	cr_assert_eq(mkdir("disk", 0700), 0);
	if (!private_mounts() || mount("tmpfs", "disk", "tmpfs", 0, "nr_inodes=3,mode=0700") < 0)
		cr_skip_test("needs root");
	cr_assert_eq(store_open("disk", true, &s), 0);
	cr_assert_eq(store_begin(&s, &NAME, &e), 0);
	cr_assert_eq(store_entry_create_file(&e, "core", &fd), 0);
	close(fd);
	cr_assert_eq(store_begin(&s, &NAME, &other), -ENOSPC);
	cr_assert_eq(store_publish(&e, j), -ENOSPC);
	store_abort(&e);
	cr_assert_eq(count("disk"), 0);
	cr_assert_eq(umount2("disk", MNT_DETACH), 0);
}
