/* SPDX-License-Identifier: MIT */
/* What only shows when all keys are set: combinations that can never trip, never capture, or ask
 * for a thing and its opposite. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/signals.h"
#include "rules/spec_table.h"

#define ARMED(kind) (1U << (kind))
#define CPU_ARMED   (ARMED(CONDITION_CPU) | ARMED(CONDITION_CPU_BELOW))
#define MEMORY_ARMED \
	(ARMED(CONDITION_MEMORY) | ARMED(CONDITION_MEMORY_BELOW) | ARMED(CONDITION_MEMORY_GROWTH))
#define WHOLE 100000ULL /* 100 %, in thousandths */

struct check {
	const struct spec *spec;
	const struct rule *rule;
	const char **name;
	char *why;
};

static bool given(const struct check *c, enum spec_id id)
{
	return c->spec->given & SPEC_BIT(id);
}

#define REFUSE(c, id, ...) (*(c)->name = key_name(id), spec_refuse((c)->why, __VA_ARGS__))

static const char *key_name(enum spec_id id)
{
	size_t n;

	return spec_keys(&n)[id].name;
}

static int check_who(const struct check *c)
{
	const struct who *who = &c->rule->who;
	const char *d = c->spec->dashes;

	if (who_is_empty(who) && !c->spec->command) {
		*c->name = NULL;
		return spec_refuse(c->why,
			"WHO is missing: %spid, %sname, %sexe, %scmdline, %suser, %scgroup, "
			"%sunit, "
			"%scontainer, %sall%s",
			d, d, d, d, d, d, d, d, d, *d ? ", or -- COMMAND" : "");
	}
	if (!who_is_empty(who) && c->spec->command) {
		*c->name = NULL;
		return spec_refuse(c->why,
			"-- COMMAND is what is watched: another WHO beside it makes no sense");
	}
	if (who->all && (who->process_count || who->user_count || who_has_globs(who)))
		return REFUSE(c, SPEC_ALL, "leaves nothing to narrow");
	if (who->all && who->tree)
		return REFUSE(c, SPEC_TREE, "%sall has every process already", d);
	return 0;
}

/* Two thresholds on one value: the upper trips at or above UPPER, the lower below LOWER. */
static int check_pair(const struct check *c, enum condition_kind upper_kind,
	enum condition_kind lower_kind, enum spec_id upper_id, enum spec_id lower_id)
{
	const struct condition *upper = &c->rule->conditions[upper_kind];
	const struct condition *lower = &c->rule->conditions[lower_kind];
	unsigned int both = ARMED(upper_kind) | ARMED(lower_kind);

	if ((c->rule->armed & both) != both || upper->percent != lower->percent)
		return 0;
	if (c->rule->all_of && lower->limit <= upper->limit)
		return REFUSE(c, lower_id, "can never hold together with %s%s", c->spec->dashes,
			key_name(upper_id));
	if (!c->rule->all_of && lower->limit >= upper->limit)
		return REFUSE(c, lower_id, "one of it and %s%s always holds", c->spec->dashes,
			key_name(upper_id));
	return 0;
}

/* A percentage of the CPU that no process can use up, or fail to stay below. */
static int check_cpu(const struct check *c, enum condition_kind kind, enum spec_id id)
{
	uint64_t limit = c->rule->conditions[kind].limit;
	uint64_t most = c->rule->cpu_base == CPU_BASE_CORE ? c->spec->cpus * WHOLE : WHOLE;

	if (!(c->rule->armed & ARMED(kind)) || most == 0 || limit <= most)
		return 0;
	return REFUSE(c, id, "is more than there is: %ju %% %s", (uintmax_t)(most / 1000),
		c->rule->cpu_base == CPU_BASE_CORE ? "are all cores of this machine"
						   : "is all of its base");
}

static int check_conditions(const struct check *c)
{
	static const enum spec_id need_armed[] = {SPEC_FOR, SPEC_INTERVAL};
	const struct rule *rule = c->rule;
	const char *d = c->spec->dashes;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(need_armed); i++)
		if (given(c, need_armed[i]) && !rule->armed)
			return REFUSE(c, need_armed[i],
				"there is no threshold (%scpu, %smemory, %sthreads, %sfds …)", d, d,
				d, d);
	if (given(c, SPEC_CPU_BASE) && !(rule->armed & CPU_ARMED))
		return REFUSE(c, SPEC_CPU_BASE, "there is no %scpu or %scpu-below", d, d);
	if (given(c, SPEC_MEMORY_BASE) && !(rule->armed & MEMORY_ARMED))
		return REFUSE(c, SPEC_MEMORY_BASE,
			"there is no %smemory, %smemory-below or %smemory-growth", d, d, d);
	r = check_cpu(c, CONDITION_CPU, SPEC_CPU);
	r = r ? r : check_cpu(c, CONDITION_CPU_BELOW, SPEC_CPU_BELOW);
	r = r ? r : check_pair(c, CONDITION_CPU, CONDITION_CPU_BELOW, SPEC_CPU, SPEC_CPU_BELOW);
	r = r ? r
	      : check_pair(c, CONDITION_MEMORY, CONDITION_MEMORY_BELOW, SPEC_MEMORY,
			SPEC_MEMORY_BELOW);
	return r;
}

static int check_all_of(const struct check *c)
{
	static const enum spec_id instants[] = {SPEC_SIGNAL, SPEC_FIRST_CHANCE, SPEC_EXIT,
		SPEC_REQUEST_SLOW, SPEC_REQUEST_STATUS, SPEC_UNREAD, SPEC_STALL, SPEC_FUNCTION};

	if (!c->rule->all_of || !given(c, SPEC_ALL_OF))
		return 0;
	if (__builtin_popcount(c->rule->armed) < 2)
		return REFUSE(c, SPEC_ALL_OF, "needs two thresholds or more");
	for (size_t i = 0; i < ARRAY_SIZE(instants); i++)
		if (given(c, instants[i]))
			return REFUSE(c, SPEC_ALL_OF,
				"%s%s is no threshold, and cannot hold together with one",
				c->spec->dashes, key_name(instants[i]));
	return 0;
}

static int check_requests(const struct check *c)
{
	static const enum spec_id need_requests[] = {
		SPEC_REQUEST_PATH, SPEC_REQUEST_EXCLUDE, SPEC_REQUEST_COUNT};
	const struct request_rule *request = &c->rule->request;
	uint64_t end = c->spec->duration_ns;
	const char *d = c->spec->dashes;

	for (size_t i = 0; i < ARRAY_SIZE(need_requests); i++)
		if (given(c, need_requests[i]) && !rule_wants_requests(c->rule))
			return REFUSE(c, need_requests[i],
				"there is no %srequest-slow or %srequest-status", d, d);
	if (given(c, SPEC_REQUEST_SLOW_SHARE) && !request->slow_ns)
		return REFUSE(c, SPEC_REQUEST_SLOW_SHARE, "there is no %srequest-slow", d);
	if (given(c, SPEC_REQUEST_COUNT) && request->share && !request->status_max)
		return REFUSE(c, SPEC_REQUEST_COUNT,
			"%srequest-slow-share says how many of them are too many", d);
	if (end && request->slow_ns >= end)
		return REFUSE(c, SPEC_REQUEST_SLOW, "would be slow only after %sduration", d);
	if (end && c->rule->unread_ns >= end)
		return REFUSE(c, SPEC_UNREAD, "is no shorter than %sduration", d);
	if (end && c->rule->stall_ns >= end)
		return REFUSE(c, SPEC_STALL, "is no shorter than %sduration", d);
	for (size_t i = 0; end && i < c->rule->functions.n; i++)
		if (c->rule->functions.v[i].limit_ns >= end)
			return REFUSE(c, SPEC_FUNCTION, "%s: is no shorter than %sduration",
				c->rule->functions.v[i].text, d);
	return 0;
}

static int check_times(const struct check *c)
{
	const struct rule *rule = c->rule;
	uint64_t end = c->spec->duration_ns, growth;
	const char *d = c->spec->dashes;

	growth = rule->armed & ARMED(CONDITION_MEMORY_GROWTH)
			 ? rule->conditions[CONDITION_MEMORY_GROWTH].within_ns
			 : 0;
	if (given(c, SPEC_FOR) && rule->for_ns < rule->interval_ns)
		return REFUSE(
			c, SPEC_FOR, "shorter than %sinterval, the time between two samples", d);
	if (growth && growth < rule->interval_ns)
		return REFUSE(c, SPEC_MEMORY_GROWTH,
			"its time is shorter than %sinterval, the time between two samples", d);
	if (!end)
		return 0;
	if (rule->armed && rule->for_ns >= end)
		return REFUSE(c, SPEC_FOR, "would hold only after %sduration has passed", d);
	if (rule->armed && rule->interval_ns >= end)
		return REFUSE(c, given(c, SPEC_INTERVAL) ? SPEC_INTERVAL : SPEC_DURATION,
			"%sduration has passed before a second sample (%sinterval)", d, d);
	if (growth >= end)
		return REFUSE(c, SPEC_MEMORY_GROWTH, "its time is no shorter than %sduration", d);
	if (given(c, SPEC_EVERY) && rule->every_ns >= end)
		return REFUSE(c, SPEC_EVERY,
			"there is no second capture before %sduration has passed", d);
	return 0;
}

static int check_how_often(const struct check *c)
{
	const struct rule *rule = c->rule;
	const char *d = c->spec->dashes;

	if (rule->end_ns && rule->start_ns >= rule->end_ns)
		return REFUSE(c, SPEC_END, "is no later than %sstart", d);
	if (given(c, SPEC_EVERY) && rule->count == 1)
		return REFUSE(c, SPEC_EVERY, "there is no second capture with %scount 1", d);
	if (!given(c, SPEC_RATE))
		return 0;
	if (rule->count && rule->count <= rule->rate_count)
		return REFUSE(c, SPEC_RATE, "there are never more than %scount %ju", d,
			(uintmax_t)rule->count);
	if (rule->every_ns &&
		(rule->rate_ns + rule->every_ns - 1) / rule->every_ns <= rule->rate_count)
		return REFUSE(c, SPEC_RATE, "there are never more with %severy", d);
	return 0;
}

static int check_exit(const struct check *c)
{
	const struct rule *rule = c->rule;
	bool alone = rule->observe || rule->what.kind == CORE_NONE;

	if (rule->exit != EXIT_WISH_NONE && rule->who.all && !alone)
		return REFUSE(c, SPEC_EXIT,
			"with %sall only as a record (%skind none): a core at exit takes a tracer "
			"for each process",
			c->spec->dashes, c->spec->dashes);
	return 0;
}

/* Keys that concern the core, where there is none. */
static int check_core_keys(const struct check *c)
{
	static const enum spec_id concern_core[] = {
		SPEC_COMPRESS, SPEC_COMPRESS_THREADS, SPEC_SNAPSHOT, SPEC_IGNORE_CORE_LIMIT};
	const struct capture_options *what = &c->rule->what;

	if (what->kind == CORE_STACKS || what->kind == CORE_NONE)
		for (size_t i = 0; i < ARRAY_SIZE(concern_core); i++)
			if (given(c, concern_core[i]))
				return REFUSE(c, concern_core[i], "kind %s has no core",
					core_kind_name(what->kind));
	if (what->kind == CORE_NONE && given(c, SPEC_MAX_PAUSE))
		return REFUSE(c, SPEC_MAX_PAUSE, "kind none stops nothing");
	if (what->kind == CORE_NONE && given(c, SPEC_OUTPUT))
		return REFUSE(c, SPEC_OUTPUT, "kind none writes nothing");
	if (given(c, SPEC_COMPRESS_THREADS) && what->compression == COMPRESS_NONE)
		return REFUSE(
			c, SPEC_COMPRESS_THREADS, "%scompress none needs none", c->spec->dashes);
	if (what->output && what->form != OUTPUT_STORE && what->kind == CORE_STACKS)
		return REFUSE(c, SPEC_OUTPUT, "kind stacks has no core to put into %s",
			what->form == OUTPUT_STDOUT ? "standard output" : "a file");
	if (what->output && what->form != OUTPUT_STORE && c->rule->count != 1)
		return REFUSE(c, SPEC_OUTPUT, "%s takes one capture, not %scount %ju",
			what->form == OUTPUT_STDOUT ? "standard output" : "a file", c->spec->dashes,
			(uintmax_t)c->rule->count);
	if (given(c, SPEC_FORCE) && what->replace && (!what->output || what->form != OUTPUT_FILE))
		return REFUSE(
			c, SPEC_FORCE, "there is no %soutput FILE to replace", c->spec->dashes);
	return 0;
}

static int check_what(const struct check *c)
{
	static const enum spec_id for_captures[] = {SPEC_KIND, SPEC_SNAPSHOT, SPEC_MAX_PAUSE,
		SPEC_COMPRESS, SPEC_COMPRESS_THREADS, SPEC_OUTPUT, SPEC_FORCE,
		SPEC_IGNORE_CORE_LIMIT};
	static const enum spec_id for_living[] = {SPEC_SNAPSHOT, SPEC_MAX_PAUSE};
	const struct rule *rule = c->rule;
	const char *d = c->spec->dashes;

	if (rule->observe && given(c, SPEC_OBSERVE))
		for (size_t i = 0; i < ARRAY_SIZE(for_captures); i++)
			if (given(c, for_captures[i]))
				return REFUSE(c, for_captures[i], "%sobserve captures nothing", d);
	for (size_t i = 0; i < ARRAY_SIZE(for_living); i++)
		if (given(c, for_living[i]) && !rule_wants_living(rule))
			return REFUSE(c, for_living[i],
				"only a threshold (%scpu, %smemory …), a request "
				"(%srequest-slow) or a %sfunction captures a process that lives on",
				d, d, d, d);
	return check_core_keys(c);
}

static bool needs_a_living(const struct action *a)
{
	return a->kind == ACTION_KILL || a->kind == ACTION_TERM || a->kind == ACTION_SIGNAL;
}

static int check_actions(const struct check *c)
{
	static const enum spec_id keys[] = {SPEC_BEFORE, SPEC_THEN};
	const struct rule *rule = c->rule;
	const char *d = c->spec->dashes;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (given(c, keys[i]) && rule->observe && given(c, SPEC_OBSERVE))
			return REFUSE(c, keys[i], "%sobserve does nothing to a process", d);
		if (given(c, keys[i]) && !rule_wants_living(rule) && !rule->fatal_signals &&
			rule->first_chance && rule->exit == EXIT_WISH_NONE)
			return REFUSE(c, keys[i], "%sfirst-chance alone captures nothing", d);
	}
	if (given(c, SPEC_BEFORE) && !rule_wants_living(rule))
		return REFUSE(c, SPEC_BEFORE, "there is no time for it while a process dies");
	for (size_t i = 0; given(c, SPEC_THEN) && !rule_wants_living(rule) && i < rule->then.n; i++)
		if (needs_a_living(&rule->then.v[i]))
			return REFUSE(c, SPEC_THEN,
				"%s: no process is left; only a threshold (%scpu, %smemory …), a "
				"request (%srequest-slow) or a %sfunction captures one that lives "
				"on",
				action_kind_name(rule->then.v[i].kind), d, d, d, d);
	return 0;
}

int spec_finish_what(struct spec *s, const char **name, char why[SPEC_WHY_MAX])
{
	const struct check c = {s, s->rule, name, why};

	int r = check_core_keys(&c);

	return r ? r : check_how_often(&c);
}

int spec_finish(struct spec *s, const char **name, char why[SPEC_WHY_MAX])
{
	static int (*const checks[])(const struct check *c) = {check_who, check_conditions,
		check_all_of, check_requests, check_times, check_how_often, check_exit, check_what,
		check_actions};
	const struct check c = {s, s->rule, name, why};
	struct rule *rule = s->rule;

	if (!rule->interval_ns)
		rule->interval_ns = SPEC_INTERVAL_DEFAULT_NS;
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		int r = checks[i](&c);

		if (r < 0)
			return r;
	}
	if (!rule->fatal_signals && !rule->first_chance && rule->exit == EXIT_WISH_NONE &&
		!rule_wants_living(rule))
		rule->fatal_signals = signals_core_mask();
	return 0;
}
