/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "spec_text.h"

/* What each key accepts and refuses, at its limits and past them. */
static const struct {
	const char *key, *company; /* set beside it, so that it makes sense */
	const char *good, *bad;	   /* divided by blanks */
} values[] = {
	{"pid", "", "1", "0 -1 1e9 18446744073709551616 2147483648 4294967297 x 1x 0x1 80% +1 1.0"},
	{"name", "", "nginx * [a-z]*", ""},
	{"exe", "", "/usr/bin/*", ""},
	{"cmdline", "", "*x*", ""},
	{"user", "", "0 root 4294967294", "4294967295 18446744073709551616 -1 no-such-user-here"},
	{"cgroup", "", "/a/b", ""},
	{"unit", "", "nginx.service", ""},
	{"container", "", "0123456789ab", ""},
	{"tree", "name=x", "true false", "yes 1 TRUE"},
	{"all", "", "true", "yes 1"},
	{"signal", "all", "fatal SEGV SIGSEGV,ABRT 11 64 RTMIN+3 KILL",
		"0 65 -1 1e9 18446744073709551616 SEGV, ,SEGV NONSENSE STOP CONT CHLD fatal,SEGV"},
	{"first-chance", "all", "USR1 SEGV,BUS CHLD 64", "KILL STOP 0 65 fatal x SEGV,,BUS"},
	{"exit", "name=x", "any nonzero 0 255", "256 -1 1e9 18446744073709551616 all none 0x1"},
	{"cpu", "all", "0.001 1 80 80% 12.5% 400",
		"0 0% 0.0001 -1 1e9 80%% % 819201 18446744073709551616 99999999999999999999 80x +8 "
		"8,5"},
	{"cpu-below", "all", "0.001 80% 400", "0 -1 1e9 80%% 18446744073709551616"},
	{"cpu-base", "all cpu=80", "core machine quota", "cores Core 1"},
	{"memory", "all", "4096 400M 1.5G 2TiB 80% 100% 0.5% 72057594037927936",
		"0 1 80 4095 0% 100.001% 101% 80%% 1e9 -1 72057594037927937 18446744073709551616 "
		"18014398509481984K 1Q M %"},
	{"memory-base", "all memory=1G", "anonymous rss", "anon RSS"},
	{"memory-below", "all", "4096 1G", "0 1 80% -1 1e9 18446744073709551616"},
	{"memory-growth", "all", "40M/10s 1G/1h 4096/1s",
		"40M /10s 40M/ 40M/0 0/10s 1/10s 80%/10s 40M/10x 40M/10s/1s 40M/-1s 40M/400d "
		"18446744073709551616/1s"},
	{"threads", "all", "1 4194304", "0 -1 4194305 1e9 18446744073709551616 80% x"},
	{"fds", "all", "1 1000000 1073741816", "0 -1 1073741817 1e10 18446744073709551616 x"},
	{"for", "all cpu=80", "1s 10 25s/30s 1.5s 366d",
		"0 0s -1 1e9 30s/30s 31s/30s /30s 30s/ 1s/0 367d 18446744073709551616 "
		"99999999999999999999d 10x 80%"},
	{"interval", "all cpu=80", "50ms 1s 1h 0.05",
		"0 49ms 49.9ms 3601s 2h -1 1e9 18446744073709551616 x"},
	{"all-of", "all cpu=80 memory=1G", "true false", "1"},
	{"request-slow", "all", "50ms 1s 1h", "0 49ms 2h -1 1e9 18446744073709551616 x 80%"},
	{"request-path", "all request-slow=1s", "/ /api/* * *.php ?a [/]x", "api x/*"},
	{"request-exclude", "all request-slow=1s", "/health */health", "health"},
	{"request-count", "all request-slow=1s", "1/1s 10/60s 10000/1d",
		"10 10/ /60s 0/1s 10001/1s 10/0 -1/1s 1e9/1s 18446744073709551616/1s"},
	{"request-slow-share", "all request-slow=1s", "1%/1s 80%/2m 100%/1h",
		"80 80/2m 80% %/2m 0%/2m 101%/2m 80%/0 -1%/2m 80%%/2m"},
	{"request-status", "all", "500-599 503 100-599",
		"0 99 600 599-500 500- -599 500-600 5xx 18446744073709551616"},
	{"unread", "all", "50ms 1s 1h", "0 49ms 2h -1 1e9 x"},
	{"stall", "all", "50ms 1s 1h", "0 49ms 2h -1 1e9 x 80%"},
	{"function", "all",
		"libc.so.6:fsync=2s :main.(*T).Do=10ms /bin/x:f=1h x:operator===1s "
		"usdt:libc.so.6:libc:a,b=1s usdt::p:a,b@1=1s",
		"f=1s :=1s :f :f= :f=0 :f=9ms :f=2h :f=-1 :f=x libc.so.6:=1s usdt:x:f=1s "
		"usdt:x:p:a=1s usdt:x:p:a,=1s usdt:x::a,b=1s usdt:x:p:a,b@0=1s usdt:x:p:a,b@10=1s "
		"usdt:x:p:a,b,c=1s usdt:x:p:a,b:c=1s"},
	{"count", "all", "0 1 1000000000 4294967295",
		"-1 1e9 4294967296 18446744073709551616 x 3.0"},
	{"every", "all count=0", "1ns 30s 5m 366d", "0 -1 1e9 367d 18446744073709551616 5parsecs"},
	{"rate", "all count=0", "1/1s 3/1h 1024/1d",
		"3 0/1h 3/0 /1h 3/ -1/1h 3/-1h 1e9/1h 1025/1h 3/400d 3/1h/2"},
	{"duration", "all", "1ns 10s 366d", "0 -1s 1e9 367d 18446744073709551616"},
	{"start", "all", "2026-11-24T09:00:00Z 2026-11-24T09:00:00 2026-11-24",
		"0 now 09:00 2026-13-01 2026-11-24T25:00:00Z 2026-11-24T09:00:00Zx 1969-01-01"},
	{"end", "all", "2036-11-24T09:00:00Z 2036-11-24", "0 tomorrow 2036-11-24T09:00:00+1"},
	{"min-age", "all", "1s 5m", "0 -1 1e9 367d 18446744073709551616"},
	{"kind", "all", "full heap mini stacks none", "huge Full 0"},
	{"snapshot", "all cpu=80", "auto fork stop", "clone Fork"},
	{"max-pause", "all cpu=80", "1ms 250ms 1h", "0 -1 1e9 367d 18446744073709551616 fast"},
	{"compress", "all", "zstd none", "rar gzip"},
	{"compress-threads", "all", "1 64", "0 65 -1 1e9 18446744073709551616 x"},
	{"output", "all", "dir/ file -", ""},
	{"force", "all output=file", "true", "1"},
	{"comment", "all", "x", ""},
	{"ignore-core-limit", "all", "true false", "1"},
	{"observe", "all", "true false", "maybe"},
	{"before", "all cpu=80", "exec:/bin/true", "kill term:1s exec: exec:true /bin/true"},
	{"then", "all cpu=80", "kill term:10s signal:USR1 restart:a.service exec:/bin/true",
		"killed term: term:0 signal:99 restart: exec: exec:true /bin/true"},
};

static int try_value(const char *key, const char *company, const char *value, struct parsed *p)
{
	char storage[512];

	begin(p);
	snprintf(storage, sizeof(storage), "%s", company);
	if (*company)
		set_all(p, storage);
	cr_assert_eq(p->result, 0, "%s: %s", company, p->why);
	set(p, key, value);
	finish(p);
	end(p);
	return p->result;
}

Test(spec_values, accepts_values_up_to_their_limits)
{
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		char list[512], *rest = list, *value;

		snprintf(list, sizeof(list), "%s", values[i].good);
		while ((value = strsep(&rest, " ")) != NULL) {
			struct parsed p;

			try_value(values[i].key, values[i].company, value, &p);
			/* "tree: false" and its like leave the rest as it was. */
			cr_expect_eq(p.result, 0, "%s '%s' (%s): %s", values[i].key, value, p.name,
				p.why);
		}
	}
}

Test(spec_values, refuses_values_past_their_limits)
{
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		char list[512], *rest = list, *value;
		struct parsed p;

		snprintf(list, sizeof(list), "%s", values[i].bad);
		while (*values[i].bad && (value = strsep(&rest, " ")) != NULL) {
			try_value(values[i].key, values[i].company, value, &p);
			cr_expect_eq(p.result, -EINVAL, "%s '%s' accepted", values[i].key, value);
			cr_expect_str_eq(p.name, values[i].key, "%s '%s' refused for '%s': %s",
				values[i].key, value, p.name, p.why);
			cr_expect(p.why[0] && !strchr(p.why, '\n'), "%s '%s': '%s'", values[i].key,
				value, p.why);
		}
		if (strcmp(values[i].key, "comment") != 0)
			cr_expect_lt(try_value(values[i].key, values[i].company, "", &p), 0,
				"%s '' accepted", values[i].key);
		if (spec_find(values[i].key)->form != SPEC_SWITCH)
			cr_expect_lt(try_value(values[i].key, values[i].company, NULL, &p), 0,
				"%s without a value accepted", values[i].key);
	}
}

Test(spec_values, has_a_test_for_each_key)
{
	size_t n;
	const struct spec_key *keys = spec_keys(&n);

	for (size_t k = 0; k < n; k++) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_SIZE(values); i++)
			found = found || strcmp(values[i].key, keys[k].name) == 0;
		cr_expect(found, "no values for %s", keys[k].name);
	}
}

/* Every two keys, each with what it needs to make sense: those that contradict each other stand in
 * this table, all others go together. */
static const char *const opposed[][2] = {
	{"all", "name"},
	{"all", "exe"},
	{"all", "cmdline"},
	{"all", "user"},
	{"all", "cgroup"},
	{"all", "unit"},
	{"all", "container"},
	{"all", "pid"},
	{"all", "tree"},
	{"all", "exit"},
	{"all-of", "signal"},
	{"all-of", "first-chance"},
	{"all-of", "exit"},
	{"observe", "kind"},
	{"observe", "snapshot"},
	{"observe", "max-pause"},
	{"observe", "compress"},
	{"observe", "compress-threads"},
	{"observe", "output"},
	{"observe", "ignore-core-limit"},
	{"observe", "force"},
	{"observe", "before"},
	{"force", "count"},
	{"force", "every"},
	{"force", "rate"},
	{"force", "output"},
	{"observe", "then"},
	{"all-of", "request-slow"},
	{"all-of", "request-path"},
	{"all-of", "request-exclude"},
	{"all-of", "request-count"},
	{"all-of", "request-slow-share"},
	{"all-of", "request-status"},
	{"all-of", "unread"},
	{"all-of", "stall"},
	{"all-of", "function"},
	{"request-count", "request-slow-share"},
};

static const char *sample_of(const char *key)
{
	static const char *const samples[][2] = {
		{"cpu-base", "machine"},
		{"cpu", "80"},
		{"cpu-below", "20"},
		{"memory", "2G"},
		{"memory-below", "1M"},
		{"for", "10s"},
		{"duration", "1h"},
		{"every", "1m"},
		{"rate", "3/1h"},
		{"interval", "2s"},
		{"output", "dir/"},
	};
	static char first[64];

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		if (strcmp(samples[i][0], key) == 0)
			return samples[i][1];
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (strcmp(values[i].key, key) == 0)
			snprintf(first, sizeof(first), "%.*s", (int)strcspn(values[i].good, " "),
				values[i].good);
	return first;
}

static bool are_opposed(const char *a, const char *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(opposed); i++)
		if ((strcmp(opposed[i][0], a) == 0 && strcmp(opposed[i][1], b) == 0) ||
			(strcmp(opposed[i][0], b) == 0 && strcmp(opposed[i][1], a) == 0))
			return true;
	return false;
}

/* A key that is there already keeps its value. */
static void set_once(struct parsed *p, const char *name, const char *value)
{
	size_t n;

	if (!(p->spec.given & 1ULL << (spec_find(name) - spec_keys(&n))))
		set(p, name, value);
}

/* What KEY needs to make sense, as "key=value …". */
static const char *company_of(const char *key)
{
	static const char *const needs_cpu[] = {
		"cpu-base", "for", "interval", "snapshot", "max-pause", "before", "then"};
	static const char *const needs_more[] = {"every", "rate"};
	static const char *const needs_slow[] = {
		"request-path", "request-exclude", "request-count", "request-slow-share"};

	for (size_t i = 0; i < ARRAY_SIZE(needs_cpu); i++)
		if (strcmp(key, needs_cpu[i]) == 0)
			return "cpu=90";
	for (size_t i = 0; i < ARRAY_SIZE(needs_more); i++)
		if (strcmp(key, needs_more[i]) == 0)
			return "count=0";
	for (size_t i = 0; i < ARRAY_SIZE(needs_slow); i++)
		if (strcmp(key, needs_slow[i]) == 0)
			return "request-slow=1s";
	if (strcmp(key, "force") == 0)
		return "output=file";
	if (strcmp(key, "memory-base") == 0)
		return "memory=1G";
	return strcmp(key, "all-of") == 0 ? "threads=10 fds=10" : "";
}

static void pair(const char *a, const char *b, struct parsed *p)
{
	char company[128], *rest = company, *word;
	char first[64];
	bool who = false;

	snprintf(company, sizeof(company), "%s %s", company_of(a), company_of(b));
	snprintf(first, sizeof(first), "%s", sample_of(a));
	begin(p);
	set(p, a, spec_find(a)->form == SPEC_SWITCH ? NULL : first);
	set(p, b, spec_find(b)->form == SPEC_SWITCH ? NULL : sample_of(b));
	while ((word = strsep(&rest, " ")) != NULL) {
		char *value = strchr(word, '=');

		if (!value)
			continue;
		*value++ = '\0';
		if (strcmp(word, a) != 0 && strcmp(word, b) != 0)
			set_once(p, word, value);
	}
	who = !who_is_empty(&p->rule.who);
	if (!who)
		set(p, "name", "x");
	finish(p);
	end(p);
}

Test(spec_values, every_two_keys_go_together_or_say_why_not)
{
	size_t n, refused = 0;
	const struct spec_key *keys = spec_keys(&n);

	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n; k++) {
			const char *a = keys[i].name, *b = keys[k].name;
			struct parsed p;

			pair(a, b, &p);
			if (!are_opposed(a, b)) {
				cr_expect_eq(
					p.result, 0, "%s with %s: %s: %s", a, b, p.name, p.why);
				continue;
			}
			refused++;
			cr_expect_eq(p.result, -EINVAL, "%s with %s accepted", a, b);
			cr_expect(strcmp(p.name, a) == 0 || strcmp(p.name, b) == 0 ||
					  strstr(company_of(a), p.name) ||
					  strstr(company_of(b), p.name),
				"%s with %s: names '%s': %s", a, b, p.name, p.why);
		}
	cr_expect_eq(refused, ARRAY_SIZE(opposed));
}
