/* SPDX-License-Identifier: MIT */
#include "cli/watch_options.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/destination.h"
#include "cli/usage.h"
#include "lib/log.h"
#include "lib/signals.h"
#include "lib/text.h"

enum { /* options without a letter */
	OPT_NAME = 256,
	OPT_EXE,
	OPT_CMDLINE,
	OPT_USER,
	OPT_CGROUP,
	OPT_UNIT,
	OPT_CONTAINER,
	OPT_TREE,
	OPT_ALL,
	OPT_SIGNAL,
	OPT_FIRST_CHANCE,
	OPT_EVERY,
	OPT_DURATION,
	OPT_KIND,
	OPT_COMPRESS,
	OPT_COMMENT,
	OPT_IGNORE_CORE_LIMIT,
	OPT_OBSERVE,
	OPT_JSON,
};

static const struct argp_option options[] = {
	{0, 0, 0, 0, "WHO (one of these; different ones narrow, the same one repeated widens)", 1},
	{"pid", 'p', "N", 0, "the process with this id", 1},
	{"name", OPT_NAME, "GLOB", 0,
		"by comm, executable's base name, or script or jar that an interpreter runs", 1},
	{"exe", OPT_EXE, "GLOB", 0, "by the executable's path", 1},
	{"cmdline", OPT_CMDLINE, "GLOB", 0, "by the arguments, joined by blanks", 1},
	{"user", OPT_USER, "USER", 0, "by effective user, name or id", 1},
	{"cgroup", OPT_CGROUP, "GLOB", 0, "by cgroup path, or one of its components", 1},
	{"unit", OPT_UNIT, "NAME", 0, "by systemd unit", 1},
	{"container", OPT_CONTAINER, "ID|NAME", 0,
		"by container id (12 digits or more) or name in the cgroup path", 1},
	{"tree", OPT_TREE, 0, 0, "and whatever descends from those", 1},
	{"all", OPT_ALL, 0, 0, "every process", 1},
	{0, 0, 0, 0, "WHEN", 2},
	{"signal", OPT_SIGNAL, "fatal|SIG,…", 0,
		"it dies of one of these (default: the signals that dump core)", 2},
	{"first-chance", OPT_FIRST_CHANCE, "SIG,…", 0,
		"a handler takes one of these (reported, not captured)", 2},
	{0, 0, 0, 0, "HOW OFTEN", 3},
	{"count", 'n', "N", 0, "end after N captures (default 1, 0: no end)", 3},
	{"every", OPT_EVERY, "TIME", 0, "at least this long between two captures", 3},
	{"duration", OPT_DURATION, "TIME", 0,
		"end after this time; exit status 4 if nothing tripped", 3},
	{0, 0, 0, 0, "WHAT", 4},
	{"kind", OPT_KIND, "full|heap|mini|stacks|none", 0, "how much to capture (default full)",
		4},
	{"compress", OPT_COMPRESS, "zstd|none", 0, "none gives a sparse file (default zstd)", 4},
	{"output", 'o', "DIR|FILE|-", 0, "store (a directory), one file, or standard output", 4},
	{"comment", OPT_COMMENT, "TEXT", 0, "goes into the capture", 4},
	{"ignore-core-limit", OPT_IGNORE_CORE_LIMIT, 0, 0,
		"memory also where the hard RLIMIT_CORE is 0", 4},
	{"observe", OPT_OBSERVE, 0, 0, "decide and report, capture nothing", 4},
	{0, 0, 0, 0, "All commands", 5},
	{"json", OPT_JSON, 0, 0, "events on standard output as JSON lines", 5},
	{"quiet", 'q', 0, 0, "say captures and refusals only", 5},
	{"verbose", 'v', 0, 0, "say more on standard error", 5},
	{0},
};

static const struct {
	int key;
	enum who_kind kind;
} globs[] = {
	{OPT_NAME, WHO_NAME},
	{OPT_EXE, WHO_EXE},
	{OPT_CMDLINE, WHO_CMDLINE},
	{OPT_CGROUP, WHO_CGROUP},
	{OPT_UNIT, WHO_UNIT},
	{OPT_CONTAINER, WHO_CONTAINER},
};

struct parse {
	struct watch_options *out;
	bool fatal_given, kind_given, compress_given;
};

static void add_pid(struct argp_state *state, struct who *who, const char *arg)
{
	uint64_t pid;
	int r;

	if (text_parse_u64(arg, &pid) < 0 || pid == 0 || pid > INT32_MAX)
		argp_error(state, "--pid: '%s' is not a process id", arg);
	r = who_add_process(who, (pid_t)pid);
	if (r == -ESRCH)
		argp_failure(state, EXIT_TARGET_GONE, 0, "--pid: there is no process %s", arg);
	else if (r < 0)
		argp_failure(state, EXIT_FAILED, -r, "--pid: process %s", arg);
}

static void add_user(struct argp_state *state, struct who *who, const char *arg)
{
	int r = who_add_user(who, arg);

	if (r == -ENOENT || r == -ERANGE)
		argp_error(state, "--user: there is no user '%s'", arg);
	else if (r < 0)
		argp_failure(state, EXIT_FAILED, -r, "--user: %s", arg);
}

static void add_glob(struct argp_state *state, struct who *who, int key, const char *arg)
{
	if (!*arg)
		argp_error(state, "an empty pattern matches nothing");
	for (size_t i = 0; i < sizeof(globs) / sizeof(globs[0]); i++)
		if (globs[i].key == key && who_add_glob(who, globs[i].kind, arg) < 0)
			argp_failure(state, EXIT_FAILED, ENOMEM, "%s", arg);
}

/* "SEGV,ABRT" into a mask. SIGSTOP and SIGCONT kill nobody, and nobody can handle SIGKILL. */
static uint64_t parse_signals(
	struct argp_state *state, const char *flag, const char *arg, uint64_t impossible)
{
	char *copy = strdup(arg), *rest = copy, *name;
	uint64_t mask = 0;

	while (copy && (name = strsep(&rest, ",")) != NULL) {
		int sig = signals_parse(name);

		if (sig < 0)
			argp_error(state, "%s: '%s' is not a signal", flag, name);
		if (impossible & SIGNAL_BIT(sig))
			argp_error(state, "%s: '%s' can never do that", flag, name);
		mask |= SIGNAL_BIT(sig);
	}
	free(copy);
	return mask;
}

static uint64_t parse_time(struct argp_state *state, const char *flag, const char *arg)
{
	uint64_t ns;

	if (text_parse_duration(arg, &ns) < 0)
		argp_error(state, "%s: '%s' is not a time (250ms, 10s, 5m, 1h)", flag, arg);
	if (ns == 0)
		argp_error(state, "%s: must be longer than 0", flag);
	return ns;
}

static void parse_what(int key, char *arg, struct argp_state *state, struct parse *p)
{
	struct capture_options *what = &p->out->rule.what;
	int v;

	switch (key) {
	case OPT_KIND:
		v = core_kind_parse(arg);
		if (v < 0)
			argp_error(state,
				"--kind: '%s' is not one of full, heap, mini, stacks, none", arg);
		what->kind = (enum core_kind)v;
		p->kind_given = true;
		break;
	case OPT_COMPRESS:
		v = core_compression_parse(arg);
		if (v < 0)
			argp_error(state, "--compress: '%s' is not one of zstd, none", arg);
		what->compression = (enum core_compression)v;
		p->compress_given = true;
		break;
	case 'o':
		if (!*arg)
			argp_error(state, "--output: needs a directory, a file or -");
		what->output = arg;
		break;
	case OPT_COMMENT:
		if (strlen(arg) > 4096)
			argp_error(state, "--comment: longer than 4096 bytes");
		what->comment = arg;
		break;
	case OPT_IGNORE_CORE_LIMIT:
		what->ignore_core_limit = true;
		break;
	case OPT_OBSERVE:
		p->out->rule.observe = true;
		break;
	}
}

static void parse_when(int key, char *arg, struct argp_state *state, struct parse *p)
{
	const uint64_t stops = SIGNAL_BIT(17) | SIGNAL_BIT(18) | SIGNAL_BIT(19) | SIGNAL_BIT(20) |
			       SIGNAL_BIT(21) | SIGNAL_BIT(22) | SIGNAL_BIT(23) | SIGNAL_BIT(28);
	struct rule *rule = &p->out->rule;

	switch (key) {
	case OPT_SIGNAL:
		if (strcmp(arg, "fatal") == 0)
			rule->fatal_signals |= ~stops;
		else
			rule->fatal_signals |= parse_signals(state, "--signal", arg, stops);
		p->fatal_given = true;
		break;
	case OPT_FIRST_CHANCE:
		rule->first_chance |=
			parse_signals(state, "--first-chance", arg, SIGNAL_BIT(9) | SIGNAL_BIT(19));
		break;
	case 'n':
		if (text_parse_u64(arg, &rule->count) < 0)
			argp_error(state, "--count: '%s' is not a number", arg);
		break;
	case OPT_EVERY:
		rule->every_ns = parse_time(state, "--every", arg);
		break;
	case OPT_DURATION:
		p->out->duration_ns = parse_time(state, "--duration", arg);
		break;
	}
}

static void check_output(struct argp_state *state, struct watch_options *out)
{
	struct rule *rule = &out->rule;

	rule->what.form = destination_form(rule->what.output);
	if (rule->what.form != OUTPUT_STORE && rule->count != 1)
		argp_error(state, "--output: '%s' takes one capture, not --count %ju",
			rule->what.output, (uintmax_t)rule->count);
	if (rule->what.form != OUTPUT_STORE && rule->what.kind == CORE_STACKS)
		argp_error(state, "--output: kind stacks has no core to put into '%s'",
			rule->what.output);
	if (rule->what.form == OUTPUT_STDOUT && out->json)
		argp_error(state, "--output: standard output cannot take the core and --json both");
}

/* What only shows when all flags are known. */
static void check(struct argp_state *state, struct parse *p)
{
	struct rule *rule = &p->out->rule;

	if (who_is_empty(&rule->who) && !p->out->command)
		argp_error(state, "WHO is missing: --pid, --name, --exe, --cmdline, --user, "
				  "--cgroup, --unit, --container, "
				  "--all, or -- COMMAND");
	if (!who_is_empty(&rule->who) && p->out->command)
		argp_error(state,
			"-- COMMAND is what is watched: another WHO beside it makes no sense");
	if (rule->who.all &&
		(rule->who.process_count || rule->who.user_count || who_has_globs(&rule->who)))
		argp_error(state, "--all: leaves nothing to narrow");
	if (rule->who.all && rule->who.tree)
		argp_error(state, "--tree: --all has every process already");
	if (rule->observe && p->kind_given)
		argp_error(state, "--kind: --observe captures nothing");
	if (rule->observe && rule->what.output)
		argp_error(state, "--output: --observe captures nothing");
	if (rule->every_ns && rule->count == 1)
		argp_error(state, "--every: there is no second capture with --count 1");
	if (p->compress_given && (rule->what.kind == CORE_STACKS || rule->what.kind == CORE_NONE))
		argp_error(
			state, "--compress: kind %s has no core", core_kind_name(rule->what.kind));
	if (rule->what.output && rule->what.kind == CORE_NONE)
		argp_error(state, "--output: kind none writes nothing");
	check_output(state, p->out);
	if (p->out->json && p->out->quiet)
		argp_error(state, "--quiet: --json has every event");
	if (!p->fatal_given && !rule->first_chance)
		rule->fatal_signals = signals_core_mask();
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;
	struct who *who = &p->out->rule.who;

	if (key == 'o' || (key >= OPT_KIND && key <= OPT_OBSERVE)) {
		parse_what(key, arg, state, p);
		return 0;
	}
	switch (key) {
	case 'p':
		add_pid(state, who, arg);
		return 0;
	case OPT_USER:
		add_user(state, who, arg);
		return 0;
	case OPT_NAME ... OPT_CMDLINE:
	case OPT_CGROUP ... OPT_CONTAINER:
		add_glob(state, who, key, arg);
		return 0;
	case OPT_TREE:
		who->tree = true;
		return 0;
	case OPT_ALL:
		who->all = true;
		return 0;
	case OPT_SIGNAL:
	case OPT_FIRST_CHANCE:
	case 'n':
	case OPT_EVERY:
	case OPT_DURATION:
		parse_when(key, arg, state, p);
		return 0;
	case OPT_JSON:
		p->out->json = true;
		return 0;
	case 'q':
		p->out->quiet = true;
		return 0;
	case 'v':
		log_set_level(log_get_level() < LOG_LEVEL_INFO ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
		return 0;
	case ARGP_KEY_INIT:
		usage_one_line(state);
		return 0;
	case ARGP_KEY_ARG:
		/* Only behind "--", so that a forgotten flag is not started as a program. */
		if (state->quoted == 0 || state->next - 1 < state->quoted)
			argp_error(state, "'%s' is not an option; a command goes behind --", arg);
		return ARGP_ERR_UNKNOWN;
	case ARGP_KEY_ARGS:
		p->out->command = state->argv + state->next;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		check(state, p);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void watch_options_parse(int argc, char **argv, struct watch_options *out)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[-- COMMAND ARGS…]",
		.doc = "Watches processes, and captures those that die of a signal.",
	};
	struct parse p = {.out = out};

	*out = (struct watch_options){.rule = {.name = "watch", .count = 1}};
	argv[0] = (char *)"coretrap watch";
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &p);
}

void watch_options_free(struct watch_options *o)
{
	who_free(&o->rule.who);
}
