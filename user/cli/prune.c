/* SPDX-License-Identifier: MIT */
/* coretrap prune: removes captures until the store is within its bounds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/captures.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "lib/text.h"
#include "store/retention.h"

enum {
	OPT_MAX_SIZE = 256,
	OPT_KEEP_FREE,
	OPT_MAX_AGE,
	OPT_MAX_COUNT,
};

struct prune_options {
	struct captures_options captures;
	struct retention keep;
	bool given;
};

static void parse_number(struct argp_state *state, const char *flag, const char *arg,
	int (*parse)(const char *, uint64_t *), uint64_t *out)
{
	struct prune_options *o = state->input;

	if (parse(arg, out) < 0 || *out == 0)
		argp_error(state, "%s: '%s' is not what it takes", flag, arg);
	o->given = true;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct prune_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		usage_one_line(state);
		state->child_inputs[0] = &o->captures;
		return 0;
	case OPT_MAX_SIZE:
		parse_number(state, "--max-size", arg, text_parse_size, &o->keep.max_bytes);
		return 0;
	case OPT_KEEP_FREE:
		parse_number(state, "--keep-free", arg, text_parse_size, &o->keep.keep_free);
		return 0;
	case OPT_MAX_AGE:
		parse_number(state, "--max-age", arg, text_parse_duration, &o->keep.max_age_ns);
		return 0;
	case OPT_MAX_COUNT:
		parse_number(state, "--max-count", arg, text_parse_u64, &o->keep.max_count);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s': prune takes no capture; 'coretrap rm' does", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void say(void *arg, const char *id)
{
	(void)arg;
	printf("removed %s\n", id);
}

int cmd_prune(int argc, char **argv)
{
	static const struct argp_child children[] = {{&captures_argp, 0, NULL, 0}, {}};
	static const struct argp_option options[] = {
		{"max-size", OPT_MAX_SIZE, "SIZE", 0, "of all captures, on disk", 0},
		{"keep-free", OPT_KEEP_FREE, "SIZE", 0, "of the file system", 0},
		{"max-age", OPT_MAX_AGE, "TIME", 0, "of a capture", 0},
		{"max-count", OPT_MAX_COUNT, "N", 0, "captures", 0},
		{},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.doc = "Removes captures until what is given holds; without any, what the sentinel "
		       "keeps to: 10 GiB or a tenth of the file system, and 15 % of it free. What "
		       "is too old goes first, then the oldest of the process with the most.",
		.children = children,
	};
	struct prune_options o = {.captures.command = "prune"};
	_cleanup_store_ struct store s = STORE_NONE;
	int r;

	argv[0] = (char *)"coretrap prune";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (captures_open(&o.captures, &s) < 0)
		return EXIT_FAILED;
	r = o.given ? 0 : retention_of(&host_limits_default, &s, &o.keep);
	if (r == 0)
		r = retention_apply(&s, &o.keep, say, NULL);
	if (r < 0)
		fprintf(stderr, "coretrap prune: %s\n", store_strerror(r));
	return r < 0 ? EXIT_FAILED : 0;
}
