/* SPDX-License-Identifier: MIT */
#include "cli/watch_options.h"

#include <argp.h>

#include "cli/usage.h"

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
	OPT_EXIT,
	OPT_CPU,
	OPT_CPU_BASE,
	OPT_CPU_BELOW,
	OPT_MEMORY,
	OPT_MEMORY_BASE,
	OPT_MEMORY_BELOW,
	OPT_MEMORY_GROWTH,
	OPT_THREADS,
	OPT_FDS,
	OPT_FOR,
	OPT_ALL_OF,
	OPT_INTERVAL,
	OPT_REQUEST_SLOW,
	OPT_REQUEST_PATH,
	OPT_REQUEST_EXCLUDE,
	OPT_REQUEST_COUNT,
	OPT_REQUEST_SLOW_SHARE,
	OPT_REQUEST_STATUS,
	OPT_UNREAD,
	OPT_STALL,
	OPT_FUNCTION,
	OPT_EVERY,
	OPT_RATE,
	OPT_MIN_AGE,
	OPT_START,
	OPT_END,
	OPT_DURATION,
	OPT_THEN,
	OPT_OBSERVE,
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
	{"exit", OPT_EXIT, "any|nonzero|CODE", 0, "it ends so", 2},
	{"cpu", OPT_CPU, "PCT", 0, "it uses so much processor time or more", 2},
	{"cpu-base", OPT_CPU_BASE, "core|machine|quota", 0,
		"what 100 % are: one core (default), all of them, or what its cgroup may use", 2},
	{"cpu-below", OPT_CPU_BELOW, "PCT", 0, "it uses less", 2},
	{"memory", OPT_MEMORY, "SIZE|PCT%", 0,
		"it has so much memory or more (PCT: of its cgroup's limit, or the machine's)", 2},
	{"memory-base", OPT_MEMORY_BASE, "anonymous|rss", 0,
		"which memory: anonymous and swapped (default), or all that is resident", 2},
	{"memory-below", OPT_MEMORY_BELOW, "SIZE", 0, "it has less", 2},
	{"memory-growth", OPT_MEMORY_GROWTH, "SIZE/TIME", 0, "it has so much more than before", 2},
	{"threads", OPT_THREADS, "N", 0, "it has so many threads or more", 2},
	{"fds", OPT_FDS, "N", 0, "it has so many open descriptors or more", 2},
	{"for", OPT_FOR, "TIME[/WINDOW]", 0,
		"those must hold so long, in a row, or so much of a window", 2},
	{"all-of", OPT_ALL_OF, 0, 0, "all of those at once (default: any)", 2},
	{"interval", OPT_INTERVAL, "TIME", 0, "between two looks (default 1s, from 50ms)", 2},
	{"request-slow", OPT_REQUEST_SLOW, "TIME", 0,
		"it has read a request, and not answered it for so long", 2},
	{"request-path", OPT_REQUEST_PATH, "GLOB", 0, "only requests of this path (HTTP/1)", 2},
	{"request-exclude", OPT_REQUEST_EXCLUDE, "GLOB", 0, "none of this path", 2},
	{"request-count", OPT_REQUEST_COUNT, "N/TIME", 0, "so many of them in so long", 2},
	{"request-slow-share", OPT_REQUEST_SLOW_SHARE, "PCT%/TIME", 0,
		"so many of all requests in so long are slow", 2},
	{"request-status", OPT_REQUEST_STATUS, "LOW-HIGH", 0,
		"it has answered with one of these (HTTP/1)", 2},
	{"unread", OPT_UNREAD, "TIME", 0,
		"bytes, or connections, have lain in its sockets for so long", 2},
	{"stall", OPT_STALL, "TIME", 0,
		"an event loop came out of its wait, and has not gone back for so long", 2},
	{"function", OPT_FUNCTION, "FILE:SYMBOL=TIME", 0,
		"this function was entered and not left for so long; the executable's without "
		"FILE; "
		"or static probes: usdt:FILE:PROVIDER:BEGIN,END[@ARGUMENT]=TIME",
		2},
	{0, 0, 0, 0, "HOW OFTEN", 3},
	{"count", 'n', "N", 0, "end after N captures (default 1, 0: no end)", 3},
	{"every", OPT_EVERY, "TIME", 0, "at least this long between two captures", 3},
	{"rate", OPT_RATE, "N/TIME", 0, "at most so many captures in so long", 3},
	{"min-age", OPT_MIN_AGE, "TIME", 0, "of the process", 3},
	{"start", OPT_START, "DATE", 0, "not before (2026-11-24T09:00:00Z, 2026-11-24 09:00)", 3},
	{"end", OPT_END, "DATE", 0, "not from then on", 3},
	{"duration", OPT_DURATION, "TIME", 0,
		"end after this time; exit status 4 if nothing tripped", 3},
	{0, 0, 0, 0, "WHAT ELSE", 5},
	{"then", OPT_THEN, "kill|term:TIME|signal:NAME|restart:UNIT|exec:CMD", 0,
		"done to it once it is captured, in order", 5},
	{"observe", OPT_OBSERVE, 0, 0, "decide and report, capture nothing", 5},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct watch_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = state->child_inputs[1] = &o->flags;
		usage_one_line(state);
		return 0;
	case ARGP_KEY_ARG:
		/* Only behind "--", so that a forgotten flag is not started as a program. */
		if (state->quoted == 0 || state->next - 1 < state->quoted)
			argp_error(state, "'%s' is not an option; a command goes behind --", arg);
		return ARGP_ERR_UNKNOWN;
	case ARGP_KEY_ARGS:
		o->command = state->argv + state->next;
		o->flags.spec.command = true;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		flags_finish(&o->flags, state, spec_finish);
		return 0;
	default:
		return flags_set(&o->flags, state, options, key, arg);
	}
}

void watch_options_parse(int argc, char **argv, struct watch_options *out)
{
	static const struct argp_child children[] = {
		{&flags_what_argp, 0, "WHAT", 4},
		{&flags_print_argp, 0, "All commands", 6},
		{0},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[-- COMMAND ARGS…]",
		.doc = "Watches processes, and captures those that die of a signal, or stand past "
		       "a "
		       "threshold.",
		.children = children,
	};

	*out = (struct watch_options){0};
	flags_init(&out->flags,
		&(struct rule){
			.name = "watch", .count = 1, .what.max_pause_ns = RULE_MAX_PAUSE_NS});
	argv[0] = (char *)"coretrap watch";
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, out);
}

void watch_options_free(struct watch_options *o)
{
	flags_free(&o->flags);
}
