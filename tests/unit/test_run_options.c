/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/config_show.h"
#include "cli/run_options.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/signals.h"
#include "rules/spec.h"

/* Loads TEXT as a file; what it complains of without the file's name, which the caller frees. */
static char *load(const char *text, struct run_config *out)
{
	char path[] = "/tmp/coretrap-run-XXXXXX", *printed = NULL, *short_names = NULL;
	FILE *f = fdopen(mkstemp(path), "w"), *err;
	size_t size;
	int r;

	fputs(text, f);
	fclose(f);
	err = open_memstream(&printed, &size);
	r = run_load(path, out, err);
	fclose(err);
	unlink(path);
	cr_assert_eq(r, *printed ? -EINVAL : 0, "%s", printed);
	short_names = calloc(1, size + 1);
	for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n")) {
		strcat(short_names, line + strlen(path) + 1);
		strcat(short_names, "\n");
	}
	free(printed);
	return short_names;
}

Test(run_options, a_file_becomes_rules_with_the_defaults_in_them)
{
	_cleanup_run_config_ struct run_config c = {};
	_cleanup_free_ char *printed = load("store: /captures\n"
					    "defaults: {interval: 2s, kind: heap, name: d}\n"
					    "rules:\n"
					    "- {rule: a, all: true, signal: [SEGV, ABRT], name: }\n"
					    "- {rule: b, name: [x, y], cpu: 80, for: 4s}\n",
		&c);

	cr_assert_str_eq(printed, "4:52: name: has no value\n");
	free(printed);
	printed = load("store: /captures\n"
		       "defaults: {interval: 2s, kind: heap, for: 3s, tree: true}\n"
		       "rules:\n"
		       "- {rule: a, name: n, signal: [SEGV, ABRT], tree: false}\n"
		       "- {rule: b, name: [x, y], cpu: 80, for: 4s, kind: mini}\n",
		&c);
	cr_assert_str_eq(printed, "");
	cr_assert_eq(run_config_rules(&c).n, 2);
	cr_assert_str_eq(c.rules[0].name, "a");
	cr_assert_eq(c.rules[0].fatal_signals, SIGNAL_BIT(11) | SIGNAL_BIT(6));
	cr_assert_eq(c.rules[0].what.kind, CORE_HEAP);
	cr_assert_not(c.rules[0].who.tree);
	cr_assert_str_eq(c.rules[0].what.output, "/captures");
	cr_assert_eq(c.rules[0].count, 0, "the sentinel has no end");
	cr_assert_eq(c.rules[1].who.globs[WHO_NAME].n, 2);
	cr_assert(c.rules[1].who.tree);
	cr_assert_eq(c.rules[1].for_ns, 4 * NSEC_PER_SEC);
	cr_assert_eq(c.rules[1].interval_ns, 2 * NSEC_PER_SEC);
	cr_assert_eq(c.rules[1].what.kind, CORE_MINI);
	cr_assert_eq(c.rules[1].what.max_pause_ns, 250 * NSEC_PER_MSEC);
	cr_assert_not(c.rules[1].observe);
}

Test(run_options, observing_is_for_all_rules_and_refuses_none)
{
	_cleanup_run_config_ struct run_config c = {};
	_cleanup_free_ char *printed =
		load("mode: observe\nrules:\n- {rule: a, all: true, kind: mini}\n", &c);

	cr_assert_str_eq(printed, "");
	cr_assert(c.rules[0].observe);
}

static const struct {
	const char *text, *complaint;
} refusals[] = {
	{"sigal: SEGV", "4:3: a rule has no key 'sigal'; did you mean signal?\n"},
	{"banana: 1", "4:3: a rule has no key 'banana'\n"},
	{"pid: 1",
		"4:3: pid: a process id means nothing in a file; name, exe, cmdline, unit … do\n"},
	{"duration: 1h", "4:3: duration: the sentinel has no end\n"},
	{"output: /x",
		"4:3: output: all rules capture into one store; `store:` at the top says which\n"},
	{"cpu: [80]", "4:9: cpu: takes one value, not a list\n"},
	{"tree: [true]", "4:10: tree: takes one value, not a list\n"},
	{"signal: [SEGV, NONE]", "4:18: signal: 'NONE' is not a signal\n"},
	{"for: 3s", "4:3: for: there is no threshold (cpu, memory, threads, fds …)\n"},
};

Test(run_options, what_makes_no_sense_is_told_at_its_place)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		_cleanup_run_config_ struct run_config c = {};
		_cleanup_free_ char *text = NULL, *printed = NULL;

		cr_assert_gt(
			asprintf(&text, "rules:\n- rule: a\n  name: x\n  %s\n", refusals[i].text),
			0);
		printed = load(text, &c);
		cr_expect_str_eq(printed, refusals[i].complaint, "%s -> %s", text, printed);
		cr_expect_null(c.rules, "what is refused leaves nothing");
	}
}

Test(run_options, a_wrong_default_is_told_once)
{
	_cleanup_run_config_ struct run_config c = {};
	_cleanup_free_ char *printed =
		load("defaults: {intervall: 1s, kind: all}\nrules:\n"
		     "- {rule: a, name: x, cpu: 1}\n- {rule: b, name: x, cpu: 1}\n",
			&c);

	cr_assert_str_eq(printed,
		"1:12: a rule has no key 'intervall'; did you mean interval?\n"
		"1:33: kind: 'all' is not one of full, heap, mini, stacks, none\n");
}

Test(run_options, a_refused_reload_leaves_what_there_is)
{
	_cleanup_run_config_ struct run_config c = {};
	_cleanup_free_ char *good = load("rules: [{rule: a, all: true}]\n", &c), *bad = NULL;
	const struct rule *rules = c.rules;

	cr_assert_str_eq(good, "");
	bad = load("rules: [{rule: b, all: perhaps}]\n", &c);
	cr_assert_str_eq(bad, "1:24: all: 'perhaps' is not true or false\n");
	cr_assert_eq(c.rules, rules);
	cr_assert_str_eq(c.rules[0].name, "a");
}

/* The configuration as `config show` prints it; the caller frees. */
static char *show(const struct run_config *c, bool effective)
{
	_cleanup_json_ json_t *shown = config_show(c, effective);
	char *printed = NULL;
	size_t size;
	FILE *f = open_memstream(&printed, &size);

	cr_assert_not_null(shown);
	cr_assert_eq(config_show_yaml(shown, f), 0);
	fclose(f);
	return printed;
}

Test(run_options, what_is_shown_reads_as_the_same_again)
{
	_cleanup_run_config_ struct run_config c = {}, again = {};
	_cleanup_free_ char *printed = load(
		"defaults: {kind: mini, for: 3s, interval: 2s, comment: 'null'}\n"
		"limits: {store-free: [1G, 5%]}\n"
		"rules:\n- {rule: 'a: b', name: ['*x', \"é\", '~'], cpu: 80, comment: \"a\\nb\"}\n"
		"- {rule: b, all: true, signal: SEGV}\n",
		&c);
	_cleanup_free_ char *effective = show(&c, true), *shown = NULL, *complaints = NULL;

	cr_assert_str_eq(printed, "");
	cr_assert_not(strstr(effective, "defaults"));
	cr_assert(strstr(effective, "- rule: b\n  all: true\n  signal: SEGV\n  kind: mini\n"
				    "  comment: 'null'\n"),
		"only what has an effect: %s", effective);
	complaints = load(effective, &again);
	cr_assert_str_eq(complaints, "");
	cr_assert_str_eq(again.rules[0].what.comment, "a\nb");
	cr_assert_str_eq(again.rules[0].who.globs[WHO_NAME].v[0], "*x");
	cr_assert_eq(again.rules[0].interval_ns, 2 * NSEC_PER_SEC);
	shown = show(&again, true);
	cr_assert_str_eq(shown, effective);
}

/* `make unit` runs where the repository begins. */
Test(run_options, the_guide_names_every_key)
{
	_cleanup_free_ char *guide = NULL;
	const struct spec_key *keys;
	const char *limit;
	size_t n;

	cr_assert_eq(io_read_file_at(AT_FDCWD, "docs/guide-config.md", 1 << 20, &guide, NULL), 0);
	keys = spec_keys(&n);
	for (size_t i = 0; i < n; i++) {
		char quoted[64];
		bool found;

		snprintf(quoted, sizeof(quoted), "`%s`", keys[i].name);
		found = strstr(guide, quoted);
		snprintf(quoted, sizeof(quoted), "`%s: true`", keys[i].name);
		cr_expect(found || strstr(guide, quoted), "%s", keys[i].name);
	}
	for (size_t i = 0; (limit = host_limits_name(i)) != NULL; i++) {
		char row[HOST_LIMIT_TEXT_MAX * 2], value[HOST_LIMIT_TEXT_MAX];

		host_limits_format(&host_limits_default, i, value);
		snprintf(row, sizeof(row), strchr(value, ',') ? "| `%s` | [%s] |" : "| `%s` | %s |",
			limit, value);
		cr_expect(strstr(guide, row), "%s", row);
	}
}
