/* SPDX-License-Identifier: MIT */
/* coretrap config: says what is wrong with a file of rules, or what it amounts to. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/config_show.h"
#include "cli/run_options.h"
#include "cli/usage.h"
#include "lib/cleanup.h"
#include "lib/json.h"

enum {
	OPTION_EFFECTIVE = 256,
	OPTION_JSON,
};

struct config_options {
	const char *action; /* "check" or "show" */
	char **files;
	int count;
	bool effective, json;
};

static void check_usage(struct argp_state *state, const struct config_options *o)
{
	bool show;

	if (!o->action)
		argp_error(state, "check or show is missing");
	show = strcmp(o->action, "show") == 0;
	if (!show && strcmp(o->action, "check") != 0)
		argp_error(state, "'%s' is not check or show", o->action);
	if (!show && o->effective)
		argp_error(state, "--effective: check shows nothing");
	if (!show && o->json)
		argp_error(state, "--json: check shows nothing");
	if (show && o->count > 1)
		argp_error(state, "show takes one FILE");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct config_options *o = state->input;

	switch (key) {
	case OPTION_EFFECTIVE:
		o->effective = true;
		return 0;
	case OPTION_JSON:
		o->json = true;
		return 0;
	case ARGP_KEY_INIT:
		usage_one_line(state);
		return 0;
	case ARGP_KEY_ARG:
		if (o->action)
			return ARGP_ERR_UNKNOWN;
		o->action = arg;
		return 0;
	case ARGP_KEY_ARGS:
		o->files = state->argv + state->next;
		o->count = state->argc - state->next;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		check_usage(state, o);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int check_file(const char *path)
{
	_cleanup_run_config_ struct run_config c = {};
	int r = run_load(path, &c, stderr);

	if (r == 0)
		printf("%s: %zu rule%s\n", path, c.n, c.n == 1 ? "" : "s");
	return r;
}

static int show_file(const char *path, const struct config_options *o)
{
	_cleanup_run_config_ struct run_config c = {};
	_cleanup_json_ json_t *shown = NULL;
	int r = run_load(path, &c, stderr);

	if (r < 0)
		return r;
	shown = config_show(&c, o->effective);
	if (!shown)
		r = -ENOMEM;
	else if (!o->json)
		r = config_show_yaml(shown, stdout);
	else if (json_dumpf(shown, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) < 0 ||
		 putchar('\n') < 0)
		r = -EIO;
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	if (r < 0)
		fprintf(stderr, "coretrap config: %s\n", strerror(-r));
	return r;
}

static int worse(int status, int r)
{
	int now = r == 0 ? 0 : r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;

	return status == EXIT_FAILED || now == 0 ? status : now;
}

int cmd_config(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"effective", OPTION_EFFECTIVE, NULL, 0, "show: each rule with the defaults in it",
			0},
		{"json", OPTION_JSON, NULL, 0, "show: as JSON", 0},
		{},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "check [FILE...]\nshow [FILE]",
		.doc = "Says what is wrong with a file of rules, or what it amounts to. Without "
		       "FILE: " CONFIG_DEFAULT_PATH ".",
	};
	struct config_options o = {};
	int status = 0;

	argv[0] = (char *)"coretrap config";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (strcmp(o.action, "show") == 0)
		return worse(0, show_file(o.count ? o.files[0] : CONFIG_DEFAULT_PATH, &o));
	if (o.count == 0)
		return worse(0, check_file(CONFIG_DEFAULT_PATH));
	for (int i = 0; i < o.count; i++)
		status = worse(status, check_file(o.files[i]));
	return status;
}
