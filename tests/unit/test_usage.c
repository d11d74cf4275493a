/* SPDX-License-Identifier: MIT */
/* Control groups of both versions, from fixture directories; descriptors, from this process. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "target/cgroup.h"
#include "target/usage.h"

struct fixture {
	char root[32];
	int fd; /* of ROOT, which is cgroupfs and the process' directory in one */
};

static void put(const struct fixture *f, const char *name, const char *text)
{
	char path[256], *slash;
	int fd;

	snprintf(path, sizeof(path), "%s", name);
	for (slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		cr_assert(mkdirat(f->fd, path, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	fd = openat(f->fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static struct fixture make(const char *groups)
{
	struct fixture f = {.root = "/tmp/cgroup-XXXXXX"};

	cr_assert_not_null(mkdtemp(f.root));
	f.fd = open(f.root, O_RDONLY | O_DIRECTORY);
	put(&f, "cgroup", groups);
	put(&f, "cgroup.procs", "");
	return f;
}

static void end(struct fixture *f)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", f->root);
	cr_assert_eq(system(command), 0);
	close(f->fd);
}

static uint64_t quota(const struct fixture *f)
{
	return cgroup_least(f->root, f->fd, "cpu", cgroup_quota);
}

static uint64_t memory(const struct fixture *f)
{
	return cgroup_least(f->root, f->fd, "memory", cgroup_memory_limit);
}

Test(usage, the_least_up_to_the_root_counts)
{
	struct fixture f = make("0::/a/b/c\n");

	put(&f, "a/b/c/cpu.max", "max 100000\n");
	put(&f, "a/b/c/memory.max", "max\n");
	cr_assert_eq(quota(&f), USAGE_UNKNOWN);
	cr_assert_eq(memory(&f), USAGE_UNKNOWN);
	put(&f, "a/b/cpu.max", "150000 100000\n");
	put(&f, "a/b/memory.max", "1048576\n");
	cr_assert_eq(quota(&f), 3 * NSEC_PER_SEC / 2);
	cr_assert_eq(memory(&f), 1048576);
	put(&f, "a/cpu.max", "25000 50000\n");
	put(&f, "a/memory.max", "2097152\n");
	cr_assert_eq(quota(&f), NSEC_PER_SEC / 2);
	cr_assert_eq(memory(&f), 1048576);
	/* In a container the root of what is seen has limits of its own. */
	put(&f, "cpu.max", "1000 100000\n");
	put(&f, "memory.max", "4096\n");
	cr_assert_eq(quota(&f), NSEC_PER_SEC / 100);
	cr_assert_eq(memory(&f), 4096);
	end(&f);
}

Test(usage, version_1_is_read_by_controller)
{
	struct fixture f = make("5:memory:/m\n4:cpuset:/x\n3:cpu,cpuacct:/c/d\n0::/\n");

	put(&f, "memory/m/memory.limit_in_bytes", "9223372036854771712\n");
	put(&f, "cpu,cpuacct/c/d/cpu.cfs_quota_us", "-1\n");
	put(&f, "cpu,cpuacct/c/d/cpu.cfs_period_us", "100000\n");
	put(&f, "cpuset/x/cpu.cfs_quota_us", "1\n"); /* of another controller */
	put(&f, "cpuset/x/cpu.cfs_period_us", "1\n");
	cr_assert_eq(quota(&f), USAGE_UNKNOWN);
	cr_assert_eq(memory(&f), USAGE_UNKNOWN);
	put(&f, "cpu,cpuacct/c/cpu.cfs_quota_us", "20000\n");
	put(&f, "cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
	put(&f, "memory/memory.limit_in_bytes", "8192\n");
	cr_assert_eq(quota(&f), NSEC_PER_SEC / 5);
	cr_assert_eq(memory(&f), 8192);
	end(&f);
}

Test(usage, what_is_left_includes_cache)
{
	struct fixture f = make("0::/a\n");

	put(&f, "a/memory.max", "10000\n");
	put(&f, "a/memory.current", "9000\n");
	put(&f, "a/memory.stat", "anon 5\ninactive_file 300\nactive_file 7\n");
	cr_assert_eq(cgroup_least(f.root, f.fd, "memory", cgroup_memory_left), 1300);
	put(&f, "a/memory.high", "9100\n");
	cr_assert_eq(cgroup_least(f.root, f.fd, "memory", cgroup_memory_left), 400);
	put(&f, "a/memory.high", "max\n");
	put(&f, "a/memory.current", "11000\n");
	cr_assert_eq(cgroup_least(f.root, f.fd, "memory", cgroup_memory_left), 300);
	end(&f);
}

Test(usage, version_2_may_lie_beside_version_1)
{
	struct fixture f = make("1:memory:/\n0::/a\n");

	put(&f, "unified/a/memory.max", "10000\n");
	cr_assert_eq(memory(&f), USAGE_UNKNOWN); /* a group of that name */
	cr_assert_eq(unlinkat(f.fd, "cgroup.procs", 0), 0);
	cr_assert_eq(memory(&f), 10000);
	end(&f);
}

Test(usage, frozen_by_whichever_version)
{
	struct fixture f = make("2:freezer:/b\n0::/a/b\n");

	cr_assert_eq(cgroup_frozen(f.root, f.fd), 0);
	put(&f, "a/b/cgroup.freeze", "0\n");
	put(&f, "freezer/b/freezer.state", "THAWED\n");
	cr_assert_eq(cgroup_frozen(f.root, f.fd), 0);
	put(&f, "a/cgroup.freeze", "1\n");
	cr_assert_eq(cgroup_frozen(f.root, f.fd), 2);
	put(&f, "freezer/b/freezer.state", "FREEZING\n");
	cr_assert_eq(cgroup_frozen(f.root, f.fd), 1);
	put(&f, "a/cgroup.freeze", "0\n");
	put(&f, "freezer/b/freezer.state", "FROZEN\n");
	cr_assert_eq(cgroup_frozen(f.root, f.fd), 1);
	end(&f);
}

Test(usage, what_makes_no_sense_is_no_limit)
{
	static const char *const groups[] = {"", "0", "0:", "0::", "nonsense\n", "0::/../a\n",
		"0::/a/../../b\n", "1:cpu:/a\n", "0::/missing\n"};
	static const char *const limits[] = {
		"", "max", "x y", "-1 -1", "5", "5 ", "5 0", "99999999999999999999 100000", "\n"};

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		struct fixture f = make(groups[i]);

		put(&f, "a/cpu.max", "1 100000\n");
		put(&f, "b/cpu.max", "1 100000\n");
		cr_expect_eq(quota(&f), USAGE_UNKNOWN, "'%s'", groups[i]);
		end(&f);
	}
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct fixture f = make("0::/a\n");

		put(&f, "a/cpu.max", limits[i]);
		cr_expect_eq(quota(&f), USAGE_UNKNOWN, "'%s'", limits[i]);
		end(&f);
	}
}

Test(usage, counts_descriptors)
{
	_cleanup_close_ int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t before = usage_read_fds(proc);
	int more[10];

	cr_assert_neq(before, USAGE_UNKNOWN);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		more[i] = dup(STDIN_FILENO);
	cr_assert_eq(usage_read_fds(proc), before + ARRAY_SIZE(more));
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		close(more[i]);
	cr_assert_eq(usage_read_fds(STDIN_FILENO), USAGE_UNKNOWN);
}
