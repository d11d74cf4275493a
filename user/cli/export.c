/* SPDX-License-Identifier: MIT */
/* coretrap export: a plain core file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/captures.h"
#include "cli/commands.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/new_file.h"
#include "lib/text.h"
#include "store/unpack.h"

struct export_options {
	struct captures_options captures;
	const char *id;
	const char *file; /* NULL: core.<pid>; "-": standard output */
	bool force;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct export_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->captures;
		return 0;
	case 'o':
		o->file = arg;
		return 0;
	case 'f':
		o->force = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num == 0)
			o->id = arg;
		else if (state->arg_num == 1 && !o->file)
			o->file = arg;
		else
			return ARGP_ERR_UNKNOWN;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "an ID is needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The signals that would end us are blocked meanwhile, so that no half file stays behind. */
static bool interrupted(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
		       sigismember(&pending, SIGHUP) == 1);
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int to_file(const struct export_options *o, int core, bool compressed, const char *path,
	uint64_t *bytes)
{
	_cleanup_new_file_ struct new_file t = NEW_FILE_NONE;
	struct stat st;
	int r = new_file_open(path, &t);

	if (r < 0)
		return r;
	/* Known before the work is done; that it still is so afterwards, the link makes sure. */
	if (!o->force && fstatat(t.dirfd, t.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	r = new_file_begin(&t);
	if (r == 0)
		r = store_unpack(core, compressed, t.fd, true, interrupted, bytes);
	return r < 0 ? r : new_file_commit(&t, o->force);
}

static int export(
	const struct export_options *o, const struct store *s, const char *id, const char *path)
{
	bool compressed, out = strcmp(path, "-") == 0;
	_cleanup_close_ int core = captures_open_core(s, id, &compressed);
	uint64_t bytes = 0;
	char size[32];
	int r = core;

	if (core == -ENOENT) {
		fprintf(stderr, "coretrap export: capture '%s' holds no core\n", id);
		return core;
	}
	if (core >= 0 && out)
		r = store_unpack(core, compressed, STDOUT_FILENO, false, interrupted, &bytes);
	else if (core >= 0)
		r = to_file(o, core, compressed, path, &bytes);
	if (r < 0) {
		fputs("coretrap export: ", stderr);
		captures_print(stderr, path, 4096);
		fprintf(stderr, ": %s\n",
			r == -EBADMSG  ? "the stored core is damaged"
			: r == -EEXIST ? "exists; --force replaces it"
				       : strerror(-r));
	} else if (!out) {
		printf("%s (%s)\n", path, text_format_size(bytes, size, sizeof(size)));
	}
	return r;
}

int cmd_export(int argc, char **argv)
{
	static const struct argp_child children[] = {{&captures_argp, 0, NULL, 0}, {}};
	static const struct argp_option options[] = {
		{"output", 'o', "FILE", 0,
			"where to (default: ./core.<pid>); '-' is standard output", 0},
		{"force", 'f', NULL, 0, "replace FILE", 0},
		{},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "ID [FILE]",
		.doc = "Writes the core of a capture as a plain file. ID is a name, the unique "
		       "beginning of one, or 'latest'.",
		.children = children,
	};
	struct export_options o = {.captures.command = "export"};
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_json_ json_t *incident = NULL;
	char id[STORE_ID_MAX], name[40];

	argv[0] = (char *)"coretrap export";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (captures_open(&o.captures, &s) < 0 || captures_find(&o.captures, &s, o.id, id) < 0)
		return EXIT_FAILED;
	if (!o.file) {
		if (captures_load(&o.captures, &s, id, &incident) < 0)
			return EXIT_FAILED;
		snprintf(name, sizeof(name), "core.%lld",
			(long long)json_get_int(captures_at(incident, "process", NULL), "pid", 0));
		o.file = name;
	}
	block_signals();
	return export(&o, &s, id, o.file) < 0 ? EXIT_FAILED : 0;
}
