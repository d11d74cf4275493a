/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "rules/who.h"

static struct identity nginx(void)
{
	static char arguments[] = "nginx: worker process\0-g\0daemon off;";
	struct identity id = {
		.pid = 100,
		.ppid = 99,
		.uid = 33,
		.start_ticks = 5,
		.comm = "nginx",
		.executable = (char *)"/usr/sbin/nginx",
		.arguments = arguments,
		.arguments_size = sizeof(arguments),
		.cgroup = (char *)"/system.slice/nginx.service",
	};
	return id;
}

static bool matches(enum who_kind kind, const char *pattern, const struct identity *id)
{
	struct who w = {};
	bool result;

	cr_assert_eq(who_add_glob(&w, kind, pattern), 0);
	result = who_matches(&w, id);
	who_free(&w);
	return result;
}

Test(who, nothing_asked_matches_nothing)
{
	struct identity id = nginx();
	struct who w = {};

	cr_assert(who_is_empty(&w));
	cr_assert_not(who_matches(&w, &id));
	w.all = true;
	cr_assert(who_matches(&w, &id));
}

Test(who, each_kind_looks_at_its_own_part)
{
	struct identity id = nginx();

	cr_assert(matches(WHO_NAME, "ngin?", &id));
	cr_assert_not(matches(WHO_NAME, "gin", &id), "a glob is anchored");
	cr_assert(matches(WHO_EXE, "/usr/*/nginx", &id));
	cr_assert_not(matches(WHO_EXE, "nginx", &id));
	cr_assert(matches(WHO_CMDLINE, "*worker*daemon off;", &id));
	cr_assert(matches(WHO_CGROUP, "/system.slice/*", &id));
	cr_assert(matches(WHO_CGROUP, "nginx.service", &id));
	cr_assert(matches(WHO_UNIT, "nginx", &id));
	cr_assert_not(matches(WHO_UNIT, "ngin", &id));
}

Test(who, different_kinds_narrow_and_the_same_widens)
{
	struct identity id = nginx();
	struct who w = {};

	cr_assert_eq(who_add_glob(&w, WHO_NAME, "redis"), 0);
	cr_assert_not(who_matches(&w, &id));
	cr_assert_eq(who_add_glob(&w, WHO_NAME, "nginx"), 0);
	cr_assert(who_matches(&w, &id));
	cr_assert_eq(who_add_user(&w, "0"), 0);
	cr_assert_not(who_matches(&w, &id));
	cr_assert_eq(who_add_user(&w, "33"), 0);
	cr_assert(who_matches(&w, &id));
	who_free(&w);
}

static bool runs_script(const char *exe, const char *arguments, size_t size, const char *pattern)
{
	struct identity id = {
		.executable = (char *)exe, .arguments = (char *)arguments, .arguments_size = size};

	return matches(WHO_NAME, pattern, &id);
}

Test(who, a_name_is_also_the_script_of_an_interpreter)
{
	static const char python[] = "python3\0-u\0/srv/app/serve.py\0--port";
	static const char java[] = "java\0-Xmx1g\0-jar\0/opt/shop.jar";
	static const char module[] = "python3\0-m\0http.server";
	static const char cat[] = "cat\0/srv/app/serve.py";

	cr_assert(runs_script("/usr/bin/python3.11", python, sizeof(python), "serve.py"));
	cr_assert(runs_script("/usr/lib/jvm/bin/java", java, sizeof(java), "shop.jar"));
	cr_assert(runs_script("/usr/bin/python3.11", module, sizeof(module), "http.server"));
	cr_assert_not(
		runs_script("/usr/bin/cat", cat, sizeof(cat), "serve.py"), "cat is no interpreter");
}

Test(who, a_pid_is_a_pid_and_a_start)
{
	struct identity id = {};
	struct who w = {};

	cr_assert_eq(who_add_process(&w, getpid()), 0);
	id.pid = getpid();
	id.start_ticks = w.processes[0].start_ticks;
	cr_assert(who_matches(&w, &id));
	id.start_ticks++;
	cr_assert_not(who_matches(&w, &id), "another process that got the same id");
	cr_assert_eq(who_add_process(&w, 0x7ffffff0), -ESRCH);
	who_free(&w);
}

Test(who, containers_are_found_in_cgroup_paths)
{
	char id[65];
	char path[200] = "/system.slice/docker-";
	const char *hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	strcat(strcat(path, hex), ".scope");
	identity_container_id(path, id);
	cr_assert_str_eq(id, hex);
	identity_container_id("/system.slice/nginx.service", id);
	cr_assert_str_eq(id, "");
}
