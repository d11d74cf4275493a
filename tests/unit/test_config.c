/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/document.h"
#include "config/nearest.h"
#include "lib/cleanup.h"

/* What `config check` would print of TEXT; "" if nothing. The caller frees. */
static char *complaints(const char *text, size_t len)
{
	_cleanup_problems_ struct config_problems problems = {};
	_cleanup_config_ struct config config = {};
	char *printed = NULL;
	size_t size;
	FILE *f = open_memstream(&printed, &size);
	int r = config_parse("f", text, len, &config, &problems);

	cr_assert_eq(r, problems.n ? -EINVAL : 0);
	problems_print(&problems, config.files, f);
	fclose(f);
	return printed;
}

#define RULE "rules:\n- rule: a\n  cpu: 80\n"

static const char whole[] = "# of a web server\n"
			    "mode: observe\n"
			    "store: /var/lib/coretrap\n"
			    "limits:\n"
			    "  host-per-day: 20\n"
			    "  process-spacing: 90s\n"
			    "  store-size: [20G, 5%]\n"
			    "  store-free: 1G\n"
			    "defaults:\n"
			    "  user: www-data\n"
			    "rules:\n"
			    "  - rule: web crash\n"
			    "    name: ['nginx*', php-fpm]\n"
			    "    signal: [SEGV, ABRT]\n"
			    "    all-of: true\n"
			    "    comment: |\n"
			    "      two\n"
			    "      lines\n"
			    "    before:\n"
			    "      - exec: /usr/bin/drain now\n"
			    "    then: [kill, 'restart:nginx']\n"
			    "  - {rule: höher, cpu: 80}\n";

Test(config, a_whole_file_is_read)
{
	_cleanup_problems_ struct config_problems problems = {};
	_cleanup_config_ struct config c = {};
	const struct config_entry *e;

	cr_assert_eq(config_parse("f", whole, sizeof(whole) - 1, &c, &problems), 0);
	cr_assert(c.observe);
	cr_assert_str_eq(c.store.text, "/var/lib/coretrap");
	cr_assert_eq(c.limits.host_per_day, 20);
	cr_assert_eq(c.limits.rule_per_day, 3, "what is not set is as the design says");
	cr_assert_eq(c.limits.process_spacing_ns, 90000000000ULL);
	cr_assert_eq(c.limits.store_size.bytes, 20ULL << 30);
	cr_assert_eq(c.limits.store_size.per_cent, 5);
	cr_assert_eq(c.limits.store_free.bytes, 1ULL << 30);
	cr_assert_eq(c.limits.store_free.per_cent, 0, "what is set replaces all of the default");
	cr_assert_str_eq(section_find(&c.defaults, "user")->values[0].text, "www-data");
	cr_assert_eq(c.rule_count, 2);
	cr_assert_str_eq(c.rules[0].name.text, "web crash");
	cr_assert_str_eq(c.rules[1].name.text, "höher");
	cr_assert_null(section_find(&c.rules[0].keys, "rule"), "the name is not a key of the rule");
	e = section_find(&c.rules[0].keys, "name");
	cr_assert_eq(e->n, 2);
	cr_assert(e->list);
	cr_assert_str_eq(e->values[1].text, "php-fpm");
	cr_assert_eq(e->values[1].at.line, 13);
	cr_assert_eq(e->values[1].at.column, 22);
	e = section_find(&c.rules[0].keys, "comment");
	cr_assert_str_eq(e->values[0].text, "two\nlines\n");
	cr_assert_not(e->list);
	e = section_find(&c.rules[0].keys, "before");
	cr_assert_str_eq(e->values[0].text, "exec:/usr/bin/drain now");
	cr_assert_str_eq(section_find(&c.rules[0].keys, "then")->values[1].text, "restart:nginx");
	cr_assert_str_eq(section_find(&c.rules[1].keys, "cpu")->values[0].text, "80");
}

static const struct {
	const char *text, *complaint;
} refusals[] = {
	{"", "f: has no rules: nothing would be watched\n"},
	{"# nothing\n", "f: has no rules: nothing would be watched\n"},
	{"rules:\n", "f: has no rules: nothing would be watched\n"},
	{"rules: []\n", "f: has no rules: nothing would be watched\n"},
	{"just text", "f:1:1: the file must be a map (key: value)\n"},
	{"- rule: a\n", "f:1:1: the file must be a map (key: value)\n"},
	{"rules: yes\n", "f:1:8: rules: must be a list (- rule: NAME)\n"},
	{"rules:\n  a: {cpu: 1}\n", "f:2:3: rules: must be a list (- rule: NAME)\n"},
	{"rules: [a]\n", "f:1:9: a rule must be a map (key: value)\n"},
	{"rules: [[]]\n", "f:1:9: a rule must be a map (key: value)\n"},
	{"rules: [{}]\n", "f:1:9: a rule needs a name, rule: NAME\n"},
	{"rules:\n- name: a\n", "f:2:3: a rule needs a name, rule: NAME (`name:` is that "
				"of the processes it "
				"watches)\n"},
	{"rules:\n- rule:\n", "f:2:3: a rule needs a name, rule: NAME\n"},
	{"rules:\n- rule: [a]\n", "f:2:9: rule: takes a text\n"},
	{"rules:\n- rule: ''\n", "f:2:9: rule: a name has 1 to 64 bytes, not 0\n"},
	{"rules:\n- rule: ' a'\n",
		"f:2:9: rule: ' a' is not printable, or begins or ends with a blank\n"},
	{"rules:\n- rule: \"a\\tb\"\n", "f:2:9: rule: 'a\\x09b' is not printable, or begins "
					"or ends with a blank\n"},
	{"rules:\n- rule: \"a\\u202eb\"\n", "f:2:9: rule: 'a\\xe2\\x80\\xaeb' is not "
					    "printable, or begins or ends with a "
					    "blank\n"},
	{"rules:\n- rule: a\n- rule: b\n- rule: a\n", "f:4:9: rule: 'a' is there already, f:2\n"},
	{RULE "  cpu: 90\n", "f:4:3: cpu: is there already, in line 3\n"},
	{RULE "  rule: b\n", "f:4:3: rule: is there already, in line 2\n"},
	{RULE "rules: []\n", "f:4:1: rules: is there already, in line 1\n"},
	{RULE "  for:\n", "f:4:7: for: has no value\n"},
	{RULE "  for: ~\n", "f:4:8: for: has no value\n"},
	{RULE "  for: {a: b}\n", "f:4:8: for: takes a text or a list of texts, not a map\n"},
	{RULE "  signal: [[SEGV]]\n",
		"f:4:12: signal: takes a text or a list of texts, not a list in a list\n"},
	{RULE "  signal: []\n", "f:4:11: signal: a list of 0 values, not of 1 to 256\n"},
	{RULE "  then: {exec: a}\n", "f:4:9: then: takes a text or a list of texts, not a map\n"},
	{RULE "  then: [{exec: a, kill: b}]\n",
		"f:4:10: an action is a text, or one `key: value`\n"},
	{RULE "  then: [{exec: }]\n", "f:4:10: an action is a text, or one `key: value`\n"},
	{RULE "  [a]: b\n", "f:4:3: a key must be a text\n"},
	{RULE "  <<: {a: b}\n", "f:4:3: merge keys (<<) are not known here; `defaults` apply "
				"to every rule\n"},
	{RULE "mode: watch\n", "f:4:7: mode: is capture or observe\n"},
	{RULE "store: captures\n", "f:4:8: store: must be the absolute path of a directory\n"},
	{RULE "limit:\n  a: 1\n", "f:4:1: there is no key 'limit' here; did you mean limits?\n"},
	{RULE "alerts: 1\n", "f:4:1: there is no key 'alerts' here, only mode, store, limits, "
			     "defaults and rules\n"},
	{RULE "limits: 3\n", "f:4:9: limits must be a map (key: value)\n"},
	{RULE "limits: {host-per-dya: 3}\n",
		"f:4:10: limits: there is no limit 'host-per-dya'; did you mean "
		"host-per-day?\n"},
	{RULE "limits: {host-per-day: many}\n",
		"f:4:24: host-per-day: takes a number (0: no limit), not 'many'\n"},
	{RULE "limits: {host-per-day: [1, 2]}\n", "f:4:25: host-per-day: too many values (2)\n"},
	{RULE "limits: {live-at-once: 0}\n",
		"f:4:24: live-at-once: takes a number, at least 1, not '0'\n"},
	{RULE "limits: {process-spacing: soon}\n",
		"f:4:27: process-spacing: takes a time (30s, 5m, 1h), not 'soon'\n"},
	{RULE "limits: {store-free: 101%}\n", "f:4:22: store-free: takes a size (10G), a "
					      "share of the file system (10%), or "
					      "a list of both, not '101%'\n"},
	{RULE "limits: {store-free: [10%, 20%]}\n",
		"f:4:23: store-free: takes a size (10G), a share of the file system (10%), "
		"or "
		"a list of both, not '10%'\n"},
	{RULE "  name: *nginx\n",
		"f:4:9: no anchor is called 'nginx'; a pattern that begins with * needs "
		"quotes\n"},
	{RULE "---\n" RULE, "f:4:1: a second document: a file has one\n"},
	{"rules: !!python/object:os.system []\n", "f:1:8: tags (!…) have no meaning here\n"},
	{"rules:\n- rule: &a \"\\0\"\n", "f:2:9: a control character (\\x00) in a text\n"},
	{"rules:\n- rule: \"\\e[31m\"\n", "f:2:9: a control character (\\x1b) in a text\n"},
	{"rules: &r\n- *r\n", "f:2:3: *r stands inside of itself\n"},
	{"rules: &r [{rule: a, &r b: *r}]\n", ""},
	{"[[[[[[[[[[[[[[[[[[[[", "f:1:17: more than 16 lists and maps in one another\n"},
};

Test(config, a_problem_is_one_line_with_its_place)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		_cleanup_free_ char *printed =
			complaints(refusals[i].text, strlen(refusals[i].text));

		cr_expect_str_eq(
			printed, refusals[i].complaint, "%s\n-> %s", refusals[i].text, printed);
	}
}

/* The wording of these is libyaml's; the place and the hint count. */
Test(config, what_is_not_yaml_is_refused_at_its_place)
{
	static const struct {
		const char *text;
		size_t len; /* 0: up to its NUL */
		const char *begins, *has;
	} cases[] = {
		{"rules:\n\t- rule: a\n", 18, "f:2:1: ", "a tab cannot indent"},
		{"rules:\n- rule: a\n\tcpu: 80\n", 26, "f:3:", "tab"},
		{RULE "  name: *\n", 0, "f:4:10: ", "needs quotes"},
		{"rules: [\n", 9, "f:2:1: ", ""},
		{"rules: 'a\n", 10, "f:2:1: ", "line 1"},
		{"a: b: c\n", 8, "f:1:5: ", ""},
		{"rules:\n- rule: a\0b\n", 19, "f:2:10: ", "byte 0x00"},
		{"rules:\n- rule: \303\251\377\n", 19, "f:2:10: ", "byte 0xff"},
		{"rules:\n- rule: \300\200\n", 18, "f:2:9: ", ""},
		{"\377\376r\0u\0", 6, "f:1:1: ", ""},
		{"rules:\n- rule: \033[31m\n", 21, "f:2:9: ", "byte 0x1b"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *printed = complaints(
			cases[i].text, cases[i].len ? cases[i].len : strlen(cases[i].text));

		cr_expect(strncmp(printed, cases[i].begins, strlen(cases[i].begins)) == 0 &&
				  strstr(printed, cases[i].has),
			"case %zu: %s", i, printed);
		cr_expect_eq(strchr(printed, '\n'), printed + strlen(printed) - 1, "one line: %s",
			printed);
	}
}

Test(config, problems_stand_in_the_order_of_the_text_and_are_all_told)
{
	static const char text[] = "mode: no\nlimits: {x: 1}\nrules:\n- rule: a\n  b:\n- c: 1\n";
	_cleanup_free_ char *printed = complaints(text, sizeof(text) - 1);

	cr_assert_str_eq(printed, "f:1:7: mode: is capture or observe\n"
				  "f:2:10: limits: there is no limit 'x'\n"
				  "f:5:5: b: has no value\n"
				  "f:6:3: a rule needs a name, rule: NAME\n");
}

/* FORMAT, with a number in it, COUNT times behind HEAD. */
static char *repeat(const char *head, const char *format, int count, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	fputs(head, f);
	for (int i = 0; i < count; i++)
		fprintf(f, format, i);
	fclose(f);
	return text;
}

Test(config, what_is_too_much_is_refused_and_counted)
{
	static const struct {
		const char *head, *format;
		int count;
		const char *complaint;
	} cases[] = {
		{"rules:\n", "- {rule: r%d}\n", 64, ""},
		{"rules:\n", "- {rule: r%d}\n", 65, "f:2:1: rules: more than 64\n"},
		{"rules:\n- rule: a\n", "  k%d: 1\n", 127, ""},
		{"rules:\n- rule: a\n", "  k%d: 1\n", 128,
			"f:2:3: a rule: 129 keys, more than 128\n"},
		{"rules:\n- rule: a\n  name:\n", "  - n%d\n", 257,
			"f:4:3: name: a list of 257 values, not of 1 to 256\n"},
		{"x:\n", "- &a%d 1\n", 1025, "f:1026:3: more than 1024 anchors\n"},
		{"x:\n", "- %d\n", 70000,
			"f:65537:3: more than 65536 values, with aliases "
			"expanded\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len;
		_cleanup_free_ char *text =
			repeat(cases[i].head, cases[i].format, cases[i].count, &len);
		_cleanup_free_ char *printed = complaints(text, len);

		cr_expect_str_eq(printed, cases[i].complaint, "case %zu: %s", i, printed);
	}
}

Test(config, a_hundred_problems_are_told_and_the_rest_is_counted)
{
	size_t len;
	_cleanup_free_ char *text = repeat("limits:\n", "  x%d: 1\n", 128, &len);
	_cleanup_free_ char *printed = complaints(text, len);

	cr_assert(strstr(printed, "f:101:3: "));
	cr_assert_not(strstr(printed, "f:102:3: "));
	cr_assert(strstr(printed, "\n28 more problems are not shown\n"));
}

Test(config, aliases_are_expanded_but_not_without_end)
{
	static const char shared[] = "rules:\n- {rule: a, signal: &s [SEGV, ABRT]}\n"
				     "- {rule: b, signal: *s}\n";
	static const char laughs[] =
		"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
		"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
		"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
	_cleanup_free_ char *printed = complaints(laughs, sizeof(laughs) - 1);
	_cleanup_problems_ struct config_problems problems = {};
	_cleanup_config_ struct config c = {};

	cr_expect_str_eq(
		printed, "f:5:23: more than 65536 values, with aliases expanded\n", "%s", printed);
	cr_assert_eq(config_parse("f", shared, sizeof(shared) - 1, &c, &problems), 0);
	cr_assert_str_eq(section_find(&c.rules[1].keys, "signal")->values[1].text, "ABRT");
}

Test(config, limits_are_told_as_they_are_set)
{
	static const char *const told[] = {
		"3", "1", "12", "5m", "1", "2", "200M", "10G, 10%", "15%"};
	char text[HOST_LIMIT_TEXT_MAX];

	for (size_t i = 0; host_limits_name(i); i++) {
		host_limits_format(&host_limits_default, i, text);
		cr_expect_str_eq(text, told[i]);
	}
}

Test(config, the_nearest_key_is_one_that_is_close)
{
	static const struct {
		const char *word, *best;
	} cases[] = {{"sigal", "signal"}, {"singal", "signal"}, {"signals", "signal"},
		{"cpuu", "cpu"}, {"x", NULL}, {"memroy", "memory"}, {"banana", NULL}, {"", NULL},
		{"signalsignalsignalsignalsignalsignalsignal", NULL}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nearest n = nearest_begin(cases[i].word);

		nearest_consider(&n, "memory");
		nearest_consider(&n, "signal");
		nearest_consider(&n, "cpu");
		if (cases[i].best)
			cr_expect_str_eq(n.best, cases[i].best, "%s", cases[i].word);
		else
			cr_expect_null(n.best, "%s", cases[i].word);
	}
}
