/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/signals.h"
#include "spec_text.h"

static void expect_refused(const char *text, const char *name, const char *word)
{
	struct parsed p;
	char storage[512];

	parse(&p, text, storage);
	cr_expect_lt(p.result, 0, "accepted: %s", text);
	cr_expect_str_eq(p.name, name, "%s: refused for '%s' (%s)", text, p.name, p.why);
	cr_expect(strstr(p.why, word), "%s: '%s' does not say '%s'", text, p.why, word);
	cr_expect_not(strchr(p.why, '\n'), "%s: more than one line", text);
	end(&p);
}

static void expect_accepted(const char *text)
{
	struct parsed p;
	char storage[512];

	parse(&p, text, storage);
	cr_expect_eq(p.result, 0, "%s: refused for '%s': %s", text, p.name, p.why);
	end(&p);
}

static const struct {
	const char *text, *name, *word;
} senseless[] = {
	{"cpu=80", "", "WHO is missing"},
	{"tree", "", "WHO is missing"},
	{"all name=x", "all", "narrow"},
	{"all user=0", "all", "narrow"},
	{"all tree", "tree", "--all"},
	{"all cpu-base=machine", "cpu-base", "--cpu"},
	{"all memory=1G cpu-base=core", "cpu-base", "--cpu"},
	{"all memory-base=rss", "memory-base", "--memory"},
	{"all cpu=80 memory-base=rss", "memory-base", "--memory"},
	{"all for=10s", "for", "threshold"},
	{"all signal=SEGV interval=1s", "interval", "threshold"},
	{"all cpu=80 for=500ms", "for", "--interval"},
	{"all cpu=80 for=2s interval=5s", "for", "--interval"},
	{"all memory-growth=1M/500ms", "memory-growth", "--interval"},
	{"all cpu=401", "cpu", "400 %"},
	{"all cpu-below=401", "cpu-below", "400 %"},
	{"all cpu=101 cpu-base=machine", "cpu", "100 %"},
	{"all cpu=101 cpu-base=quota", "cpu", "100 %"},
	{"all cpu=20 cpu-below=20", "cpu-below", "always"},
	{"all cpu=20 cpu-below=80", "cpu-below", "always"},
	{"all cpu=80 cpu-below=20 all-of", "cpu-below", "never"},
	{"all memory=1G memory-below=2G", "memory-below", "always"},
	{"all memory=2G memory-below=1G all-of", "memory-below", "never"},
	{"all all-of", "all-of", "two"},
	{"all all-of cpu=80", "all-of", "two"},
	{"all all-of cpu=80 memory=1G signal=SEGV", "all-of", "--signal"},
	{"all all-of cpu=80 memory=1G first-chance=USR1", "all-of", "--first-chance"},
	{"name=x all-of cpu=80 memory=1G exit=any", "all-of", "--exit"},
	{"all every=5s", "every", "--count 1"},
	{"all every=5s count=1", "every", "--count 1"},
	{"all every=5s count=2 duration=5s", "every", "--duration"},
	{"all rate=1/1h", "rate", "--count 1"},
	{"all rate=5/1h count=5", "rate", "--count 5"},
	{"all rate=3/1h count=0 every=20m", "rate", "--every"},
	{"all cpu=80 for=10s duration=10s", "for", "--duration"},
	{"all cpu=80 duration=1s", "duration", "--interval"},
	{"all cpu=80 interval=2s duration=2s", "interval", "--duration"},
	{"all memory-growth=1M/10s duration=10s", "memory-growth", "--duration"},
	{"all exit=any", "exit", "--all"},
	{"all exit=nonzero kind=stacks", "exit", "--all"},
	{"all observe kind=mini", "kind", "--observe"},
	{"all observe compress=none", "compress", "--observe"},
	{"all observe compress-threads=2", "compress-threads", "--observe"},
	{"all observe output=x/", "output", "--observe"},
	{"all observe ignore-core-limit", "ignore-core-limit", "--observe"},
	{"all observe cpu=1 snapshot=fork", "snapshot", "--observe"},
	{"all observe cpu=1 max-pause=1s", "max-pause", "--observe"},
	{"all snapshot=fork", "snapshot", "threshold"},
	{"all signal=SEGV max-pause=1s", "max-pause", "threshold"},
	{"all kind=stacks compress=none", "compress", "kind stacks"},
	{"all kind=none compress=zstd", "compress", "kind none"},
	{"all kind=stacks compress-threads=2", "compress-threads", "kind stacks"},
	{"all kind=stacks ignore-core-limit", "ignore-core-limit", "kind stacks"},
	{"all kind=none ignore-core-limit", "ignore-core-limit", "kind none"},
	{"all cpu=80 kind=stacks snapshot=stop", "snapshot", "kind stacks"},
	{"all cpu=80 kind=none max-pause=1s", "max-pause", "kind none"},
	{"all kind=none output=x/", "output", "kind none"},
	{"all kind=stacks output=file", "output", "kind stacks"},
	{"all kind=stacks output=-", "output", "kind stacks"},
	{"all force", "force", "--output"},
	{"all force output=-", "force", "--output"},
	{"all force output=dir/", "force", "--output"},
	{"all output=- count=2", "output", "--count 2"},
	{"all output=file count=0", "output", "--count 0"},
	{"all cpu=80 observe then=kill", "then", "--observe"},
	{"all cpu=80 observe before=exec:/bin/true", "before", "--observe"},
	{"all then=kill", "then", "threshold"},
	{"all signal=SEGV then=term:5s", "then", "threshold"},
	{"name=x exit=any then=signal:USR1", "then", "threshold"},
	{"all first-chance=USR1 then=exec:/bin/true", "then", "--first-chance"},
	{"all signal=SEGV before=exec:/bin/true", "before", "dies"},
	{"all compress=none compress-threads=2", "compress-threads", "--compress none"},
	{"all request-path=/x", "request-path", "--request-slow"},
	{"all request-exclude=/x", "request-exclude", "--request-slow"},
	{"all unread=1s request-count=10/60s", "request-count", "--request-slow"},
	{"all request-status=500-599 request-slow-share=80%/2m", "request-slow-share",
		"--request-slow"},
	{"all request-slow=1s request-slow-share=80%/2m request-count=2/1s", "request-count",
		"--request-slow-share"},
	{"all request-slow=1s duration=1s", "request-slow", "--duration"},
	{"all unread=1s duration=1s", "unread", "--duration"},
	{"all stall=1s duration=1s", "stall", "--duration"},
	{"all all-of cpu=80 memory=1G stall=1s", "all-of", "--stall"},
	{"all function=:f=1s duration=1s", "function", "--duration"},
	{"all function=:f=1s function=:f=2s", "function", "twice"},
	{"all all-of cpu=80 memory=1G function=:f=1s", "all-of", "--function"},
	{"all all-of cpu=80 memory=1G request-slow=1s", "all-of", "--request-slow"},
	{"all request-slow=1s for=10s", "for", "threshold"},
};

Test(spec, says_which_combination_makes_no_sense)
{
	for (size_t i = 0; i < ARRAY_SIZE(senseless); i++)
		expect_refused(senseless[i].text, senseless[i].name, senseless[i].word);
}

Test(spec, a_command_is_all_that_is_watched)
{
	struct parsed p;

	begin(&p);
	p.spec.command = true;
	finish(&p);
	cr_assert_eq(p.result, 0, "%s", p.why);
	begin(&p);
	p.spec.command = true;
	set(&p, "name", "x");
	finish(&p);
	cr_assert_eq(p.result, -EINVAL);
	cr_assert(strstr(p.why, "COMMAND"), "%s", p.why);
	end(&p);
}

Test(spec, one_value_is_given_once_and_many_add_up)
{
	expect_refused("all cpu=80 cpu=90", "cpu", "twice");
	expect_refused("all kind=mini kind=mini", "kind", "twice");
	expect_refused("all no-such-key=1", "no-such-key", "no such key");
	expect_accepted("all signal=SEGV then=restart:a.service then=exec:/bin/true");
	expect_accepted("all request-slow=1s request-path=/a request-path=/b request-exclude=/c "
			"request-count=10/60s max-pause=10ms snapshot=fork then=kill");
	expect_accepted("all request-slow=1s request-slow-share=80%/2m request-status=500-599 "
			"request-count=2/1s unread=1s stall=1s cpu=80");
	expect_accepted("name=a name=b signal=SEGV signal=ABRT all-of=false tree tree");
}

Test(spec, fills_the_rule)
{
	struct parsed p;
	char storage[512];

	parse(&p,
		"name=x cpu=12.5% cpu-base=quota memory=80% memory-growth=40M/10s threads=7 fds=9 "
		"memory-base=rss for=25s/30s interval=250ms min-age=1m rate=3/1h count=0 all-of "
		"duration=2h snapshot=fork max-pause=20ms",
		storage);
	cr_assert_eq(p.result, 0, "%s: %s", p.name, p.why);
	cr_expect_eq(p.rule.armed, 1U << CONDITION_CPU | 1U << CONDITION_MEMORY |
					   1U << CONDITION_MEMORY_GROWTH | 1U << CONDITION_THREADS |
					   1U << CONDITION_FDS);
	cr_expect_eq(p.rule.conditions[CONDITION_CPU].limit, 12500);
	cr_expect_eq(p.rule.cpu_base, CPU_BASE_QUOTA);
	cr_expect_eq(p.rule.conditions[CONDITION_MEMORY].limit, 80000);
	cr_expect(p.rule.conditions[CONDITION_MEMORY].percent);
	cr_expect_eq(p.rule.conditions[CONDITION_MEMORY_GROWTH].limit, 40 << 20);
	cr_expect_eq(p.rule.conditions[CONDITION_MEMORY_GROWTH].within_ns, 10 * NSEC_PER_SEC);
	cr_expect_eq(p.rule.conditions[CONDITION_THREADS].limit, 7);
	cr_expect_eq(p.rule.conditions[CONDITION_FDS].limit, 9);
	cr_expect_eq(p.rule.memory_base, MEMORY_BASE_RSS);
	cr_expect_eq(p.rule.for_ns, 25 * NSEC_PER_SEC);
	cr_expect_eq(p.rule.window_ns, 30 * NSEC_PER_SEC);
	cr_expect_eq(p.rule.interval_ns, 250 * NSEC_PER_MSEC);
	cr_expect_eq(p.rule.min_age_ns, 60 * NSEC_PER_SEC);
	cr_expect_eq(p.rule.rate_count, 3);
	cr_expect_eq(p.rule.rate_ns, 3600 * NSEC_PER_SEC);
	cr_expect_eq(p.rule.count, 0);
	cr_expect(p.rule.all_of);
	cr_expect_eq(p.spec.duration_ns, 7200 * NSEC_PER_SEC);
	cr_expect_eq(p.rule.what.snapshot, SNAPSHOT_FORK);
	cr_expect_eq(p.rule.what.max_pause_ns, 20 * NSEC_PER_MSEC);
	cr_expect_eq(p.rule.fatal_signals, 0, "a threshold alone waits for no death");
	end(&p);
}

Test(spec, fills_in_what_was_not_said)
{
	struct parsed p;
	char storage[512];

	parse(&p, "name=x", storage);
	cr_expect_eq(p.rule.fatal_signals, signals_core_mask());
	cr_expect_eq(p.rule.interval_ns, NSEC_PER_SEC);
	end(&p);
	parse(&p, "name=x exit=3", storage);
	cr_expect_eq(p.rule.fatal_signals, 0);
	cr_expect_eq(p.rule.exit, EXIT_WISH_CODE);
	cr_expect_eq(p.rule.exit_code, 3);
	end(&p);
	parse(&p, "name=x exit=any first-chance=USR1 signal=fatal", storage);
	cr_expect_eq(p.rule.exit, EXIT_WISH_ANY);
	cr_expect_eq(p.rule.first_chance, SIGNAL_BIT(SIGUSR1));
	cr_expect(p.rule.fatal_signals & SIGNAL_BIT(SIGKILL));
	cr_expect_not(p.rule.fatal_signals & SIGNAL_BIT(SIGCONT));
	end(&p);
}

Test(spec, a_default_gives_way_to_the_rules_own_words)
{
	struct parsed p;

	begin(&p);
	set(&p, "kind", "stacks");
	set(&p, "name", "x");
	cr_assert_eq(spec_default(&p.spec, "kind", "full", p.why), 0);
	cr_assert_eq(spec_default(&p.spec, "compress", "none", p.why), 0, "nothing to refuse");
	cr_assert_eq(spec_default(&p.spec, "observe", NULL, p.why), 0);
	cr_assert_eq(spec_default(&p.spec, "count", "7", p.why), 0);
	cr_assert_eq(spec_default(&p.spec, "cpu", "80%%", p.why), -EINVAL, "wrong all the same");
	finish(&p);
	cr_assert_eq(p.result, 0, "%s: %s", p.name, p.why);
	cr_expect_eq(p.rule.what.kind, CORE_STACKS);
	cr_expect(p.rule.observe);
	cr_expect_eq(p.rule.count, 7);
	end(&p);
}

Test(spec, quotes_hostile_values_in_one_short_line)
{
	struct parsed p;
	char longer[5000];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	begin(&p);
	cr_assert_eq(spec_set(&p.spec, "cpu", "8\n\x1b[2J", p.why), -EINVAL);
	cr_expect_not(strpbrk(p.why, "\n\x1b"), "%s", p.why);
	cr_assert_eq(spec_set(&p.spec, "kind", longer, p.why), -EINVAL);
	cr_expect_lt(strlen(p.why), 200);
	cr_assert_eq(spec_set(&p.spec, "memory-growth", longer, p.why), -EINVAL);
	cr_assert_eq(spec_set(&p.spec, "comment", longer, p.why), -EINVAL);
	cr_assert_eq(spec_set(&p.spec, "for", longer, p.why), -EINVAL);
	end(&p);
}

Test(spec, names_no_flags_to_those_who_have_none)
{
	struct parsed p;

	begin(&p);
	p.spec.dashes = "";
	set(&p, "name", "x");
	set(&p, "every", "1s");
	finish(&p);
	cr_assert_eq(p.result, -EINVAL);
	cr_expect_not(strstr(p.why, "--"), "%s", p.why);
	end(&p);
}

Test(spec, a_request_alone_waits_for_no_death)
{
	static const char *const alone[] = {"all request-slow=250ms", "all request-status=503",
		"all unread=2s", "all stall=2s"};
	char storage[512];

	for (size_t i = 0; i < ARRAY_SIZE(alone); i++) {
		struct parsed p;

		parse(&p, alone[i], storage);
		cr_assert_eq(p.result, 0, "%s: %s", p.name, p.why);
		cr_expect_eq(p.rule.fatal_signals, 0, "%s", alone[i]);
		cr_expect(rule_wants_living(&p.rule), "%s", alone[i]);
		cr_expect_eq(rule_wants_requests(&p.rule), i < 2, "%s", alone[i]);
		end(&p);
	}
}
