/* SPDX-License-Identifier: MIT */
#include "rules/spec.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/signals.h"
#include "lib/text.h"
#include "rules/spec_table.h"

#define COMMENT_MAX	     4096
#define COMPRESS_THREADS_MAX 64
#define CORES_MAX	     8192	/* CONFIG_NR_CPUS goes no higher */
#define THREADS_MAX	     4194304	/* PID_MAX_LIMIT */
#define FDS_MAX		     1073741816 /* sysctl_nr_open_max */

typedef int setter(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX]);

static int set_pid(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	uint64_t pid;
	int r;

	(void)id;
	if (text_parse_u64(value, &pid) < 0 || pid == 0 || pid > INT32_MAX)
		return spec_refuse_value(why, value, "is not a process id");
	r = who_add_process(&s->rule->who, (pid_t)pid);
	if (r == -ESRCH)
		spec_refuse(why, "there is no process %s", value);
	else if (r < 0)
		spec_refuse(why, "process %s: %s", value, strerror(-r));
	return r;
}

static int set_user(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	int r = who_add_user(&s->rule->who, value);

	(void)id;
	if (r == -ENOENT || r == -ERANGE)
		return spec_refuse_value(why, value, "is not a user of this machine");
	return r;
}

static int set_glob(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	static const enum who_kind kinds[] = {
		[SPEC_NAME] = WHO_NAME,
		[SPEC_EXE] = WHO_EXE,
		[SPEC_CMDLINE] = WHO_CMDLINE,
		[SPEC_CGROUP] = WHO_CGROUP,
		[SPEC_UNIT] = WHO_UNIT,
		[SPEC_CONTAINER] = WHO_CONTAINER,
	};

	if (!*value)
		return spec_refuse(why, "an empty pattern matches nothing");
	return who_add_glob(&s->rule->who, kinds[id], value);
}

/* SIGSTOP and SIGCONT and their like kill nobody, and nobody can handle SIGKILL. */
static int set_signals(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	const uint64_t harmless = SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGCONT) | SIGNAL_BIT(SIGSTOP) |
				  SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU) |
				  SIGNAL_BIT(SIGURG) | SIGNAL_BIT(SIGWINCH);
	const uint64_t unhandled = SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP);
	uint64_t mask = ~harmless;
	int r = 0;

	if (id == SPEC_FIRST_CHANCE) {
		r = spec_parse_signals(value, unhandled, &mask, why);
		s->rule->first_chance |= r == 0 ? mask : 0;
		return r;
	}
	if (strcmp(value, "fatal") != 0)
		r = spec_parse_signals(value, harmless, &mask, why);
	s->rule->fatal_signals |= r == 0 ? mask : 0;
	return r;
}

static int set_exit(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	uint64_t code;

	(void)id;
	if (strcmp(value, "any") == 0) {
		s->rule->exit = EXIT_WISH_ANY;
	} else if (strcmp(value, "nonzero") == 0) {
		s->rule->exit = EXIT_WISH_NONZERO;
	} else {
		if (text_parse_u64(value, &code) < 0 || code > 255)
			return spec_refuse_value(
				why, value, "is not any, nonzero, or a code from 0 to 255");
		s->rule->exit = EXIT_WISH_CODE;
		s->rule->exit_code = (int)code;
	}
	return 0;
}

static int set_growth(struct condition *c, const char *value, char why[SPEC_WHY_MAX])
{
	char size[64];
	int r = spec_parse_per_time(value, "SIZE/TIME (40M/10s)", size, &c->within_ns, why);

	return r < 0 ? r : spec_parse_size(size, &c->limit, why);
}

static int parse_condition(enum spec_id id, const char *value, struct condition *c, char *why)
{
	switch (id) {
	case SPEC_CPU:
	case SPEC_CPU_BELOW:
		return spec_parse_percent(value, 100 * CORES_MAX, &c->limit, why);
	case SPEC_MEMORY:
		c->percent = strchr(value, '%') != NULL;
		return c->percent ? spec_parse_percent(value, 100, &c->limit, why)
				  : spec_parse_size(value, &c->limit, why);
	case SPEC_MEMORY_BELOW:
		return spec_parse_size(value, &c->limit, why);
	case SPEC_MEMORY_GROWTH:
		return set_growth(c, value, why);
	case SPEC_THREADS:
		return spec_parse_number(value, 1, THREADS_MAX, &c->limit, why);
	default:
		return spec_parse_number(value, 1, FDS_MAX, &c->limit, why);
	}
}

static int set_condition(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	static const enum condition_kind kinds[] = {
		[SPEC_CPU] = CONDITION_CPU,
		[SPEC_CPU_BELOW] = CONDITION_CPU_BELOW,
		[SPEC_MEMORY] = CONDITION_MEMORY,
		[SPEC_MEMORY_BELOW] = CONDITION_MEMORY_BELOW,
		[SPEC_MEMORY_GROWTH] = CONDITION_MEMORY_GROWTH,
		[SPEC_THREADS] = CONDITION_THREADS,
		[SPEC_FDS] = CONDITION_FDS,
	};
	struct condition c = {0};
	int r = parse_condition(id, value, &c, why);

	if (r < 0)
		return r;
	s->rule->armed |= 1U << kinds[id];
	s->rule->conditions[kinds[id]] = c;
	return 0;
}

static int set_base(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	static const char *const cpu[] = {[CPU_BASE_CORE] = "core",
		[CPU_BASE_MACHINE] = "machine",
		[CPU_BASE_QUOTA] = "quota"};
	static const char *const memory[] = {
		[MEMORY_BASE_ANONYMOUS] = "anonymous", [MEMORY_BASE_RSS] = "rss"};

	if (id == SPEC_CPU_BASE) {
		for (size_t i = 0; i < ARRAY_SIZE(cpu); i++)
			if (strcmp(value, cpu[i]) == 0) {
				s->rule->cpu_base = (enum cpu_base)i;
				return 0;
			}
		return spec_refuse_value(why, value, "is not one of core, machine, quota");
	}
	for (size_t i = 0; i < ARRAY_SIZE(memory); i++)
		if (strcmp(value, memory[i]) == 0) {
			s->rule->memory_base = (enum memory_base)i;
			return 0;
		}
	return spec_refuse_value(why, value, "is not one of anonymous, rss");
}

static int set_for(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	struct rule *rule = s->rule;
	char held[64];
	int r;

	(void)id;
	if (!strchr(value, '/'))
		return spec_parse_time(value, &rule->for_ns, why);
	r = spec_parse_per_time(
		value, "TIME or TIME/WINDOW (25s/30s)", held, &rule->window_ns, why);
	if (r == 0)
		r = spec_parse_time(held, &rule->for_ns, why);
	if (r == 0 && rule->for_ns >= rule->window_ns)
		r = spec_refuse_value(
			why, value, "has a window no longer than what must hold in it");
	return r;
}

static int set_rate(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	char count[64];
	int r = spec_parse_per_time(value, "N/TIME (3/1h)", count, &s->rule->rate_ns, why);

	(void)id;
	return r < 0 ? r
		     : spec_parse_number(count, 1, LEDGER_STARTS_MAX, &s->rule->rate_count, why);
}

static int set_count(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	(void)id;
	return spec_parse_number(value, 0, UINT32_MAX, &s->rule->count, why);
}

static int set_time(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	uint64_t *const times[] = {
		[SPEC_INTERVAL] = &s->rule->interval_ns,
		[SPEC_EVERY] = &s->rule->every_ns,
		[SPEC_DURATION] = &s->duration_ns,
		[SPEC_MIN_AGE] = &s->rule->min_age_ns,
		[SPEC_MAX_PAUSE] = &s->rule->what.max_pause_ns,
	};
	int r = spec_parse_time(value, times[id], why);

	if (r == 0 && id == SPEC_INTERVAL &&
		(*times[id] < SPEC_INTERVAL_MIN_NS || *times[id] > SPEC_INTERVAL_MAX_NS))
		r = spec_refuse_value(why, value, "is not a time from 50ms to 1h");
	return r;
}

static int set_moment(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	return spec_parse_moment(
		value, id == SPEC_START ? &s->rule->start_ns : &s->rule->end_ns, why);
}

static int set_what(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	struct capture_options *what = &s->rule->what;
	int v;

	switch (id) {
	case SPEC_KIND:
		v = core_kind_parse(value);
		if (v < 0)
			return spec_refuse_value(
				why, value, "is not one of full, heap, mini, stacks, none");
		what->kind = (enum core_kind)v;
		return 0;
	case SPEC_SNAPSHOT:
		v = snapshot_mode_parse(value);
		if (v < 0)
			return spec_refuse_value(why, value, "is not one of auto, fork, stop");
		what->snapshot = (enum snapshot_mode)v;
		return 0;
	default:
		v = core_compression_parse(value);
		if (v < 0)
			return spec_refuse_value(why, value, "is not one of zstd, none");
		what->compression = (enum core_compression)v;
		return 0;
	}
}

static int set_threads(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	uint64_t threads;
	int r = spec_parse_number(value, 1, COMPRESS_THREADS_MAX, &threads, why);

	(void)id;
	if (r == 0)
		s->rule->what.compress_threads = (unsigned int)threads;
	return r;
}

static int set_text(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	if (id == SPEC_COMMENT) {
		if (strlen(value) > COMMENT_MAX)
			return spec_refuse(why, "longer than %d bytes", COMMENT_MAX);
		s->rule->what.comment = value;
		return 0;
	}
	if (!*value)
		return spec_refuse(why, "needs a directory, a file or -");
	s->rule->what.output = value;
	return 0;
}

/* Ahead of a capture the process may be drained, but neither ended nor started anew. */
static int set_action(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	struct actions *list = id == SPEC_BEFORE ? &s->rule->before : &s->rule->then;
	char what[ACTION_WHY_MAX] = "";
	int r;

	if (id == SPEC_BEFORE && strncmp(value, "exec:", 5) != 0)
		return spec_refuse_value(
			why, value, "is not exec:CMD, all there is before a capture");
	r = actions_add(list, value, what);
	if (r < 0 && what[0])
		spec_refuse(why, "%s", what);
	return r;
}

static int set_switch(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	bool *const switches[] = {
		[SPEC_TREE] = &s->rule->who.tree,
		[SPEC_ALL] = &s->rule->who.all,
		[SPEC_ALL_OF] = &s->rule->all_of,
		[SPEC_FORCE] = &s->rule->what.replace,
		[SPEC_IGNORE_CORE_LIMIT] = &s->rule->what.ignore_core_limit,
		[SPEC_OBSERVE] = &s->rule->observe,
	};

	if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
		return spec_refuse_value(why, value, "is not true or false");
	*switches[id] = strcmp(value, "true") == 0;
	return 0;
}

static const struct spec_key keys[SPEC_IDS] = {
	[SPEC_PID] = {"pid", SPEC_MANY},
	[SPEC_NAME] = {"name", SPEC_MANY},
	[SPEC_EXE] = {"exe", SPEC_MANY},
	[SPEC_CMDLINE] = {"cmdline", SPEC_MANY},
	[SPEC_USER] = {"user", SPEC_MANY},
	[SPEC_CGROUP] = {"cgroup", SPEC_MANY},
	[SPEC_UNIT] = {"unit", SPEC_MANY},
	[SPEC_CONTAINER] = {"container", SPEC_MANY},
	[SPEC_TREE] = {"tree", SPEC_SWITCH},
	[SPEC_ALL] = {"all", SPEC_SWITCH},
	[SPEC_SIGNAL] = {"signal", SPEC_MANY},
	[SPEC_FIRST_CHANCE] = {"first-chance", SPEC_MANY},
	[SPEC_EXIT] = {"exit", SPEC_ONE},
	[SPEC_CPU] = {"cpu", SPEC_ONE},
	[SPEC_CPU_BASE] = {"cpu-base", SPEC_ONE},
	[SPEC_CPU_BELOW] = {"cpu-below", SPEC_ONE},
	[SPEC_MEMORY] = {"memory", SPEC_ONE},
	[SPEC_MEMORY_BASE] = {"memory-base", SPEC_ONE},
	[SPEC_MEMORY_BELOW] = {"memory-below", SPEC_ONE},
	[SPEC_MEMORY_GROWTH] = {"memory-growth", SPEC_ONE},
	[SPEC_THREADS] = {"threads", SPEC_ONE},
	[SPEC_FDS] = {"fds", SPEC_ONE},
	[SPEC_FOR] = {"for", SPEC_ONE},
	[SPEC_INTERVAL] = {"interval", SPEC_ONE},
	[SPEC_ALL_OF] = {"all-of", SPEC_SWITCH},
	[SPEC_REQUEST_SLOW] = {"request-slow", SPEC_ONE},
	[SPEC_REQUEST_PATH] = {"request-path", SPEC_MANY},
	[SPEC_REQUEST_EXCLUDE] = {"request-exclude", SPEC_MANY},
	[SPEC_REQUEST_COUNT] = {"request-count", SPEC_ONE},
	[SPEC_REQUEST_SLOW_SHARE] = {"request-slow-share", SPEC_ONE},
	[SPEC_REQUEST_STATUS] = {"request-status", SPEC_ONE},
	[SPEC_UNREAD] = {"unread", SPEC_ONE},
	[SPEC_STALL] = {"stall", SPEC_ONE},
	[SPEC_FUNCTION] = {"function", SPEC_MANY},
	[SPEC_COUNT] = {"count", SPEC_ONE},
	[SPEC_EVERY] = {"every", SPEC_ONE},
	[SPEC_RATE] = {"rate", SPEC_ONE},
	[SPEC_DURATION] = {"duration", SPEC_ONE},
	[SPEC_MIN_AGE] = {"min-age", SPEC_ONE},
	[SPEC_START] = {"start", SPEC_ONE},
	[SPEC_END] = {"end", SPEC_ONE},
	[SPEC_KIND] = {"kind", SPEC_ONE},
	[SPEC_SNAPSHOT] = {"snapshot", SPEC_ONE},
	[SPEC_MAX_PAUSE] = {"max-pause", SPEC_ONE},
	[SPEC_COMPRESS] = {"compress", SPEC_ONE},
	[SPEC_COMPRESS_THREADS] = {"compress-threads", SPEC_ONE},
	[SPEC_OUTPUT] = {"output", SPEC_ONE},
	[SPEC_FORCE] = {"force", SPEC_SWITCH},
	[SPEC_COMMENT] = {"comment", SPEC_ONE},
	[SPEC_IGNORE_CORE_LIMIT] = {"ignore-core-limit", SPEC_SWITCH},
	[SPEC_OBSERVE] = {"observe", SPEC_SWITCH},
	[SPEC_BEFORE] = {"before", SPEC_MANY},
	[SPEC_THEN] = {"then", SPEC_MANY},
};

static setter *const setters[SPEC_IDS] = {
	[SPEC_PID] = set_pid,
	[SPEC_NAME... SPEC_CMDLINE] = set_glob,
	[SPEC_USER] = set_user,
	[SPEC_CGROUP... SPEC_CONTAINER] = set_glob,
	[SPEC_TREE... SPEC_ALL] = set_switch,
	[SPEC_SIGNAL... SPEC_FIRST_CHANCE] = set_signals,
	[SPEC_EXIT] = set_exit,
	[SPEC_CPU] = set_condition,
	[SPEC_CPU_BASE] = set_base,
	[SPEC_CPU_BELOW... SPEC_MEMORY] = set_condition,
	[SPEC_MEMORY_BASE] = set_base,
	[SPEC_MEMORY_BELOW... SPEC_FDS] = set_condition,
	[SPEC_FOR] = set_for,
	[SPEC_INTERVAL] = set_time,
	[SPEC_ALL_OF] = set_switch,
	[SPEC_REQUEST_SLOW... SPEC_STALL] = spec_set_request,
	[SPEC_FUNCTION] = spec_set_function,
	[SPEC_COUNT] = set_count,
	[SPEC_EVERY] = set_time,
	[SPEC_RATE] = set_rate,
	[SPEC_DURATION... SPEC_MIN_AGE] = set_time,
	[SPEC_START... SPEC_END] = set_moment,
	[SPEC_KIND... SPEC_SNAPSHOT] = set_what,
	[SPEC_MAX_PAUSE] = set_time,
	[SPEC_COMPRESS] = set_what,
	[SPEC_COMPRESS_THREADS] = set_threads,
	[SPEC_OUTPUT] = set_text,
	[SPEC_FORCE] = set_switch,
	[SPEC_COMMENT] = set_text,
	[SPEC_IGNORE_CORE_LIMIT... SPEC_OBSERVE] = set_switch,
	[SPEC_BEFORE... SPEC_THEN] = set_action,
};

const struct spec_key *spec_keys(size_t *n)
{
	*n = SPEC_IDS;
	return keys;
}

const struct spec_key *spec_find(const char *name)
{
	for (size_t i = 0; i < SPEC_IDS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static int apply(struct spec *s, const char *name, const char *value, bool own, char *why)
{
	const struct spec_key *key = spec_find(name);
	enum spec_id id;
	int r;

	if (!key) {
		spec_refuse(why, "there is no such key");
		return -ENOENT;
	}
	id = (enum spec_id)(key - keys);
	if (s->given & SPEC_BIT(id) && !own)
		return 0;
	if (s->given & SPEC_BIT(id) && key->form == SPEC_ONE)
		return spec_refuse(why, "given twice");
	if (!value && key->form != SPEC_SWITCH)
		return spec_refuse(why, "needs a value");
	why[0] = '\0';
	r = setters[id](s, id, value ? value : "true", why);
	if (r < 0 && !why[0])
		spec_refuse(why, "%s", strerror(-r));
	if (r == 0 && own)
		s->given |= SPEC_BIT(id);
	return r;
}

int spec_set(struct spec *s, const char *name, const char *value, char why[SPEC_WHY_MAX])
{
	return apply(s, name, value, true, why);
}

int spec_default(struct spec *s, const char *name, const char *value, char why[SPEC_WHY_MAX])
{
	return apply(s, name, value, false, why);
}
