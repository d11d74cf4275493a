/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/procdump_options.h"
#include "lib/cleanup.h"

#define GUIDE "docs/guide-procdump.md"

static const pid_t the_pid = 4711;

/* LINE has no blanks within words, save in 'quotes'. */
static int split(char *line, char **argv, int room)
{
	int argc = 0;

	while (*line && argc < room - 1) {
		char end = *line == '\'' ? '\'' : ' ';

		argv[argc++] = line += end == '\'';
		line = strchrnul(line, end);
		if (*line)
			*line++ = '\0';
		line += strspn(line, " ");
	}
	argv[argc] = NULL;
	return argc;
}

/* Of "procdump LINE", where 4711 is the process: the words with '|' between them, or "!" and why
 * not. To be freed. */
static char *translate(const char *line, const struct procdump_target *target)
{
	char *copy = strdup(line), *argv[64], *out = NULL, why[PROCDUMP_WHY_MAX] = "no reason";
	struct procdump_words words = {0};
	struct procdump p;
	size_t size;
	FILE *f = open_memstream(&out, &size);
	int argc = split(copy, argv, 64);
	int r = procdump_parse(argc, argv, &p, why);

	if (r == 0)
		r = procdump_translate(&p, target, &words, why);
	if (r < 0)
		fprintf(f, "!%s", why);
	for (size_t i = 0; r == 0 && i < words.n; i++)
		fprintf(f, "%s%s", i ? "|" : "", words.v[i]);
	fclose(f);
	procdump_words_free(&words);
	free(copy);
	return out;
}

static void expect(const char *line, bool folder, const char *expected)
{
	const struct procdump_target target = {.pids = &the_pid, .n = 1, .folder = folder};
	_cleanup_free_ char *got = translate(line, &target);

	cr_expect_str_eq(got, expected, "%s\n  gives %s\n  not   %s", line, got, expected);
}

static void expect_refused(const char *line, const char *option)
{
	const struct procdump_target target = {.pids = &the_pid, .n = 1};
	_cleanup_free_ char *got = translate(line, &target);

	cr_expect(got[0] == '!' && strncmp(got + 1, option, strlen(option)) == 0,
		"%s: does not name %s: %s", line, option, got);
	cr_expect_not(strpbrk(got, "\n\x1b"), "%s: %s", line, got);
}

Test(procdump, runs_the_lines_of_the_azure_guide)
{
	expect("procdump -accepteula -r -dc 'The Message' -ma 4711 /dumps", true,
		"dump|4711|--kind|full|--snapshot|fork|--output|/dumps|--comment|The Message");
	expect("procdump -accepteula -dc Message -ma 4711 /dumps", true,
		"dump|4711|--kind|full|--output|/dumps|--comment|Message");
	expect("procdump -accepteula -ma -n 3 -s 30 4711", false,
		"dump|4711|--count|3|--every|30s|--kind|full");
	expect("procdump -accepteula -ma -t 4711", false,
		"watch|--pid|4711|--exit|any|--kind|full");
	expect("procdump -accepteula -ma -e 4711", false,
		"watch|--pid|4711|--signal|fatal|--exit|nonzero|--kind|full");
	expect_refused("procdump -accepteula -ma -e 1 -f NotFound 4711", "-f ");
	expect_refused("procdump -accepteula -ma -e 1 4711", "-e: 1 ");
	expect("procdump -accepteula -ma -n 3 -s 30 -c 80 4711", false,
		"watch|--pid|4711|--cpu|80|--cpu-base|machine|--count|3|--for|30s|--kind|full|"
		"--max-pause|24h");
	expect("procdump -accepteula -ma -m 2000 4711", false,
		"watch|--pid|4711|--memory|2000M|--for|10s|--kind|full|--max-pause|24h");
}

Test(procdump, gives_sysinternals_options_their_meaning)
{
	expect("procdump 4711", false, "dump|4711|--kind|mini");
	expect("procdump -mm 4711 core.dmp", false,
		"dump|4711|--kind|mini|--output|core.dmp|--compress|none");
	expect("procdump -o -mp 4711 core.dmp", false,
		"dump|4711|--kind|heap|--output|core.dmp|--compress|none|--force");
	expect("procdump -o -mt 4711 /dumps", true, "dump|4711|--kind|stacks|--output|/dumps");
	expect("procdump -n 3 4711", false, "dump|4711|--count|3|--every|10s|--kind|mini");
	expect("procdump 4711 -C 20 -S 5 -N 3", false,
		"watch|--pid|4711|--cpu|20|--cpu-base|machine|--count|3|--for|5s|--kind|mini|"
		"--max-pause|24h");
	expect("procdump -c 150 -u 4711", false,
		"watch|--pid|4711|--cpu|150|--cpu-base|core|--for|10s|--kind|mini|--max-pause|24h");
	expect("procdump -cl 5 4711", false,
		"watch|--pid|4711|--cpu-below|5|--cpu-base|machine|--for|10s|--kind|mini|"
		"--max-pause|24h");
	expect("procdump -ml 10 4711", false,
		"watch|--pid|4711|--memory-below|10M|--for|10s|--kind|mini|--max-pause|24h");
	expect("procdump -m 9 -r 5 -a -at 2 4711", false,
		"watch|--pid|4711|--memory|9M|--for|10s|--kind|mini|--snapshot|fork|--max-pause|"
		"2s");
	expect("procdump -ma -k -c 80 4711", false,
		"watch|--pid|4711|--cpu|80|--cpu-base|machine|--for|10s|--kind|full|--max-pause|"
		"24h|"
		"--then|kill");
	expect("procdump -ma -k -at 3 4711", false, "dump|4711|--kind|full|--max-pause|3s");
	expect("procdump -e -b -t -r 4711", false,
		"watch|--pid|4711|--signal|fatal|--exit|any|--kind|mini");
	expect("procdump -nobanner -v 4711", false, "dump|4711|--kind|mini|--verbose");
	expect("procdump /accepteula /ma 4711", false, "dump|4711|--kind|full");
}

Test(procdump, takes_a_number_behind_e_and_r_for_a_process_where_nothing_follows)
{
	const pid_t one = 1;
	const struct procdump_target target = {.pids = &one, .n = 1};
	_cleanup_free_ char *a = translate("procdump -ma -e 1", &target);
	_cleanup_free_ char *b = translate("procdump -r 3", &target);

	cr_expect_str_eq(a, "watch|--pid|1|--signal|fatal|--exit|nonzero|--kind|full");
	cr_expect_str_eq(b, "dump|1|--kind|mini|--snapshot|fork");
}

Test(procdump, gives_linux_options_their_meaning)
{
	expect("procdump -tc 100 -fc 50 -pf 500 4711", false,
		"watch|--pid|4711|--threads|100|--fds|50|--interval|500ms|--for|10s|--kind|mini|"
		"--max-pause|24h");
	expect("procdump -sig 11,6 4711", false, "watch|--pid|4711|--signal|11,6|--kind|mini");
	expect("procdump -log stdout 4711", false, "dump|4711|--kind|mini|--verbose");
}

Test(procdump, watches_a_group_a_name_to_come_or_a_command)
{
	const pid_t pids[] = {7, 8};
	const struct procdump_target group = {.pids = pids, .n = 2}, name = {.name = "server"},
				     folder = {.folder = true};
	_cleanup_free_ char *a = translate("procdump -pgid -t 7", &group);
	_cleanup_free_ char *b = translate("procdump -w -t server", &name);

	cr_expect_str_eq(a, "watch|--pid|7|--pid|8|--tree|--exit|any|--kind|mini");
	_cleanup_free_ char *c = translate("procdump -e -x /dumps /bin/server -p 80 --", &folder);

	cr_expect_str_eq(c, "watch|--signal|fatal|--exit|nonzero|--kind|mini|--output|/dumps|--|/"
			    "bin/server|-p|80|"
			    "--");
	cr_expect_str_eq(b, "watch|--name|server|--exit|any|--kind|mini");
}

Test(procdump, names_what_it_refuses)
{
	static const struct {
		const char *line, *option;
	} table[] = {
		{"procdump -mm -ma 4711", "-ma:"},
		{"procdump -n 0 4711", "-n:"},
		{"procdump -n -1 4711", "-n:"},
		{"procdump -n 18446744073709551616 4711", "-n:"},
		{"procdump -n", "-n:"},
		{"procdump -n 3 -n 4 4711", "-n:"},
		{"procdump -n 3 4711 core.dmp", "-n:"},
		{"procdump -s 5 4711", "-s:"},
		{"procdump -s 0 -c 80 4711", "-s:"},
		{"procdump -s 1e9 -c 80 4711", "-s:"},
		{"procdump -c 0 4711", "-c:"},
		{"procdump -c 101 4711", "-c:"},
		{"procdump -c 80% 4711", "-c:"},
		{"procdump -c \x1b[2J 4711", "-c:"},
		{"procdump -m 100,200 4711", "-m:"},
		{"procdump -m 18446744073709551616 4711", "-m:"},
		{"procdump -tc 0 4711", "-tc:"},
		{"procdump -fc x 4711", "-fc:"},
		{"procdump -a 4711", "-a:"},
		{"procdump -at 5 -e 4711", "-at:"},
		{"procdump -r -mt 4711", "-r:"},
		{"procdump -mt 4711 core.dmp", "-mt:"},
		{"procdump -b 4711", "-b:"},
		{"procdump -u", "-u:"},
		{"procdump -u 4711", "-u:"},
		{"procdump -pf 500 4711", "-pf:"},
		{"procdump -log syslog 4711", "-log:"},
		{"procdump -x /dumps", "-x:"},
		{"procdump -x /dumps /bin/server", "-x:"},
		{"procdump -w -e -x /dumps /bin/server", "-w:"},
		{"procdump -zz 4711", "'-zz'"},
		{"procdump -ma 4711 a b", "'b'"},
		{"procdump 4711 PROCESSNAME_YYMMDD.dmp", "PROCESSNAME"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		expect_refused(table[i].line, table[i].option);
}

/* Each option is understood, with what goes with it, or refused by its name. */
Test(procdump, knows_each_of_its_options)
{
	static const char *const company[][2] = {
		{"-s", "-c 80"},
		{"-u", "-c 80"},
		{"-b", "-e"},
		{"-a", "-r"},
		{"-at", ""},
		{"-pf", "-c 80"},
	};
	size_t n;
	const struct procdump_option *o = procdump_options(&n);

	for (size_t i = 0; i < n; i++) {
		const char *with = "", *value = "5";
		char line[128];

		for (size_t k = 0; k < ARRAY_SIZE(company); k++)
			if (strcmp(company[k][0], o[i].name) == 0)
				with = company[k][1];
		if (strcmp(o[i].name, "-x") == 0 || strcmp(o[i].name, "-?") == 0)
			continue; /* others test them */
		if (strcmp(o[i].name, "-log") == 0)
			value = "stdout";
		snprintf(line, sizeof(line), "procdump %s %s %s 4711", with, o[i].name,
			o[i].value && o[i].value[0] != '[' ? value : "");
		if (!o[i].becomes) {
			expect_refused(line, o[i].name);
		} else {
			const struct procdump_target target = {.pids = &the_pid, .n = 1};
			_cleanup_free_ char *got = translate(line, &target);

			cr_expect(got[0] == 'w' || got[0] == 'd', "%s: %s", line, got);
		}
		cr_expect(!o[i].becomes != !o[i].refused, "%s: becomes something or is refused",
			o[i].name);
	}
}

static void row_of(const struct procdump_option *o, char *row, size_t size)
{
	snprintf(row, size, "| `%s%s%s` | %s | %s%s |\n", o->name, o->value ? " " : "",
		o->value ? o->value : "", o->meaning,
		o->becomes ? "" : "refused: ", o->becomes ? o->becomes : o->refused);
}

/* PROCDUMP_ROWS=1 prints the rows that the guide should have. */
Test(procdump, the_guide_has_its_options_and_no_others)
{
	_cleanup_fclose_ FILE *f = fopen(GUIDE, "re");
	size_t n, at = 0;
	const struct procdump_option *o = procdump_options(&n);
	char line[1024], row[1024];

	for (size_t i = 0; getenv("PROCDUMP_ROWS") && i < n; i++) {
		row_of(&o[i], row, sizeof(row));
		fputs(row, stderr);
	}
	cr_assert(f, "no " GUIDE " here");
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "| `", 3) != 0)
			continue;
		cr_assert_lt(at, n, GUIDE " has a row more: %s", line);
		row_of(&o[at++], row, sizeof(row));
		cr_expect_str_eq(line, row, GUIDE " says\n%s  not\n%s", line, row);
	}
	cr_expect_eq(at, n, GUIDE " has %zu of %zu options", at, n);
}
