/* SPDX-License-Identifier: MIT */
/* coretrap rm: removes captures. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/captures.h"
#include "cli/commands.h"

#define OPTION_ALL 0x100

struct rm_options {
	struct captures_options captures;
	bool all, force;
	char **ids;
	int count;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct rm_options *o = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = state->child_inputs[1] = &o->captures;
		return 0;
	case OPTION_ALL:
		o->all = true;
		return 0;
	case 'f':
		o->force = true;
		return 0;
	case ARGP_KEY_ARGS:
		o->ids = state->argv + state->next;
		o->count = state->argc - state->next;
		return 0;
	case ARGP_KEY_END:
		if (o->all == (o->count > 0))
			argp_error(state, o->all ? "--all and ID exclude each other"
						 : "an ID or --all is needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int remove_one(const struct rm_options *o, const struct store *s, const char *id)
{
	int r = store_remove(s, id);

	if (r < 0)
		fprintf(stderr, "coretrap rm: capture '%s': %s\n", id,
			r == -EBUSY ? "in use by another command" : store_strerror(r));
	else if (!o->force && isatty(STDOUT_FILENO))
		printf("removed %s\n", id);
	return r;
}

/* Whether the user, if there is one to ask, wants N captures gone. */
static bool confirmed(const struct rm_options *o, const struct store *s, size_t n)
{
	char answer[8] = "";

	if (o->force || n == 0 || !isatty(STDIN_FILENO))
		return true;
	fprintf(stderr, "remove all %zu captures in %s? [y/N] ", n, s->path);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int remove_all(const struct rm_options *o, const struct store *s)
{
	_cleanup_store_items_ struct store_items items = {};
	int r = store_list(s, &items);

	if (r < 0) {
		fprintf(stderr, "coretrap rm: %s\n", store_strerror(r));
		return r;
	}
	if (!confirmed(o, s, items.n))
		return -ECANCELED;
	for (size_t i = 0; i < items.n; i++) {
		int q = remove_one(o, s, items.v[i].id);

		r = r ? r : q;
	}
	return r;
}

static int remove_named(const struct rm_options *o, const struct store *s)
{
	char id[STORE_ID_MAX];
	int r = 0;

	for (int i = 0; i < o->count; i++) {
		int q = captures_find(&o->captures, s, o->ids[i], id);

		if (q == 0)
			q = remove_one(o, s, id);
		r = r ? r : q;
	}
	return r;
}

int cmd_rm(int argc, char **argv)
{
	static const struct argp_child children[] = {
		{&captures_argp, 0, NULL, 0}, {&captures_output_argp, 0, NULL, 0}, {}};
	static const struct argp_option options[] = {
		{"all", OPTION_ALL, NULL, 0, "all captures; asks first on a terminal", 0},
		{"force", 'f', NULL, 0, "do not ask", 0},
		{},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "ID...",
		.doc = "Removes captures. ID is a name, the unique beginning of one, or 'latest'.",
		.children = children,
	};
	struct rm_options o = {.captures.command = "rm"};
	_cleanup_store_ struct store s = STORE_NONE;

	argv[0] = (char *)"coretrap rm";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (captures_open(&o.captures, &s) < 0)
		return EXIT_FAILED;
	return (o.all ? remove_all(&o, &s) : remove_named(&o, &s)) < 0 ? EXIT_FAILED : 0;
}
