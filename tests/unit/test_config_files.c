/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/document.h"
#include "config/files.h"
#include "lib/cleanup.h"
#include "store/tree.h"

static void enter_scratch(void)
{
	char dir[] = "/tmp/coretrap-config-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
	umask(022);
}

static void leave_scratch(void)
{
	_cleanup_free_ char *dir = get_current_dir_name();
	_cleanup_close_ int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	tree_clear(fd);
	rmdir(dir);
}

TestSuite(config_files, .init = enter_scratch, .fini = leave_scratch);

static void put(const char *name, const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(name, "we");

	cr_assert_not_null(f, "%s", name);
	fputs(text, f);
}

/* Loads c.yaml; what it complains of, which the caller frees. */
static char *load(struct config *config)
{
	_cleanup_problems_ struct config_problems problems = {};
	char *printed = NULL;
	size_t size;
	FILE *f = open_memstream(&printed, &size);
	int r = config_load("c.yaml", config, &problems);

	cr_assert_eq(r, problems.n ? -EINVAL : 0);
	problems_print(&problems, config->files, f);
	fclose(f);
	return printed;
}

static char *complaints(void)
{
	_cleanup_config_ struct config config = {};

	return load(&config);
}

Test(config_files, drop_ins_add_rules_and_replace_settings_in_the_order_of_their_names)
{
	_cleanup_config_ struct config c = {};
	_cleanup_free_ char *printed = NULL;

	mkdir("conf.d", 0755);
	put("c.yaml", "mode: observe\nlimits: {host-per-day: 1, rule-per-day: 1}\n"
		      "defaults: {user: a, tree: true}\nrules:\n- {rule: one, cpu: 1}\n");
	put("conf.d/20.yaml", "limits: {host-per-day: 20}\ndefaults: {user: c}\n");
	put("conf.d/10.yaml", "mode: capture\nlimits: {host-per-day: 10}\ndefaults: {user: b}\n"
			      "rules:\n- {rule: two, cpu: 2}\n");
	put("conf.d/README", "not a rule\n");
	put("conf.d/.hidden.yaml", "nor this\n");
	printed = load(&c);
	cr_assert_str_eq(printed, "");
	cr_assert_eq(c.file_count, 3);
	cr_assert_str_eq(c.files[1], "conf.d/10.yaml");
	cr_assert_not(c.observe);
	cr_assert_eq(c.limits.host_per_day, 20);
	cr_assert_eq(c.limits.rule_per_day, 1);
	cr_assert_eq(c.defaults.n, 2);
	cr_assert_str_eq(section_find(&c.defaults, "user")->values[0].text, "c");
	cr_assert_eq(c.rule_count, 2);
	cr_assert_str_eq(c.rules[1].name.text, "two");
	cr_assert_eq(c.rules[1].name.at.file, 1);
}

Test(config_files, a_problem_names_its_own_file)
{
	_cleanup_free_ char *printed = NULL;

	mkdir("conf.d", 0755);
	put("c.yaml", "rules:\n- {rule: one, cpu: 1}\n");
	put("conf.d/a.yaml", "rules:\n- {rule: one, cpu: 1}\n");
	put("conf.d/b.yaml", "rules: [\n");
	put("conf.d/c.yml", "rules: []\n");
	cr_assert_eq(symlink("nowhere", "conf.d/d.yaml"), 0);
	mkfifo("conf.d/e.yaml", 0600);
	printed = complaints();
	cr_assert(strstr(printed, "conf.d/a.yaml:2:10: rule: 'one' is there already, c.yaml:2\n"),
		"%s", printed);
	cr_assert(strstr(printed, "conf.d/b.yaml:2:1: "));
	cr_assert(strstr(printed, "conf.d/c.yml: is not read: only *.yaml is\n"));
	cr_assert(strstr(printed, "conf.d/d.yaml: cannot be read: No such file or directory\n"));
	cr_assert(strstr(printed, "conf.d/e.yaml: is not a file\n"));
}

Test(config_files, what_cannot_be_read_is_said_in_one_line)
{
	_cleanup_free_ char *missing = complaints(), *directory = NULL, *device = NULL;

	cr_expect_str_eq(missing, "c.yaml: cannot be read: No such file or directory\n");
	mkdir("c.yaml", 0755);
	directory = complaints();
	cr_expect_str_eq(directory, "c.yaml: is not a file\n");
	rmdir("c.yaml");
	cr_assert_eq(symlink("/dev/zero", "c.yaml"), 0);
	device = complaints();
	cr_expect_str_eq(device, "c.yaml: is not a file\n");
}

Test(config_files, ten_megabytes_are_refused_and_one_is_read)
{
	_cleanup_free_ char *large = NULL, *fits = NULL;
	FILE *f = fopen("c.yaml", "we");

	fputs("rules:\n- {rule: a, cpu: 1}\n", f);
	while (ftell(f) < CONFIG_FILE_MAX)
		fputs("#\n", f);
	fclose(f);
	cr_assert_eq(truncate("c.yaml", CONFIG_FILE_MAX), 0);
	fits = complaints();
	cr_expect_str_eq(fits, "");
	cr_assert_eq(truncate("c.yaml", 10 << 20), 0);
	large = complaints();
	cr_expect_str_eq(large, "c.yaml: is larger than 1024 KiB\n");
}

Test(config_files, a_link_is_judged_by_the_file_it_names)
{
	_cleanup_free_ char *good = NULL, *bad = NULL;

	put("real", "rules:\n- {rule: a, cpu: 1}\n");
	cr_assert_eq(symlink("real", "c.yaml"), 0);
	good = complaints();
	cr_expect_str_eq(good, "");
	if (geteuid() != 0)
		return;
	chmod("real", 0666);
	bad = complaints();
	cr_expect_str_eq(bad, "c.yaml: is refused: it can be written by everybody\n");
}

Test(config_files, what_others_can_write_is_not_for_root)
{
	static const struct {
		mode_t mode;
		uid_t uid;
		gid_t gid;
		bool trusted;
	} cases[] = {
		{S_IFREG | 0644, 0, 0, true},
		{S_IFREG | 0640, 0, 50, true},
		{S_IFREG | 0664, 0, 0, true},
		{S_IFREG | 0664, 0, 50, false},
		{S_IFREG | 0646, 0, 0, false},
		{S_IFREG | 0600, 1000, 0, false},
		{S_IFREG | S_ISVTX | 0666, 0, 0, false},
		{S_IFDIR | 0755, 0, 0, true},
		{S_IFDIR | 0777, 0, 0, false},
		{S_IFDIR | 0755, 1000, 0, false},
		{S_IFDIR | S_ISVTX | 0777, 0, 0, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stat st = {
			.st_mode = cases[i].mode, .st_uid = cases[i].uid, .st_gid = cases[i].gid};

		cr_expect_eq(config_distrust(&st, 0) == NULL, cases[i].trusted, "case %zu", i);
		cr_expect_null(config_distrust(&st, 1000), "case %zu: who is not root may", i);
	}
}
