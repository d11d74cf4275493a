/* SPDX-License-Identifier: MIT */
/* coretrap export: a plain core file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/captures.h"
#include "cli/commands.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/text.h"
#include "store/unpack.h"

struct export_options {
	struct captures_options captures;
	const char *id;
	const char *file; /* NULL: core.<pid>; "-": standard output */
	bool force;
};

/* A file that gets its name only once it is whole. */
struct target {
	int dirfd, fd;
	const char *name;
	char temporary[40];
};

static void target_close(struct target *t)
{
	if (t->fd >= 0 && t->temporary[0])
		unlinkat(t->dirfd, t->temporary, 0);
	cleanup_close(&t->fd);
	cleanup_close(&t->dirfd);
}

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

static int target_open(const char *path, struct target *t)
{
	_cleanup_free_ char *parent = NULL;
	const char *slash = strrchr(path, '/');
	uint64_t random;

	t->name = slash ? slash + 1 : path;
	parent = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	if (!parent)
		return -ENOMEM;
	if (!*t->name)
		return -EISDIR;
	t->dirfd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->dirfd < 0 || getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return -errno;
	snprintf(t->temporary, sizeof(t->temporary), ".coretrap-%016llx",
		(unsigned long long)random);
	t->fd = openat(
		t->dirfd, t->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return t->fd < 0 ? -errno : 0;
}

/* A hard link, not RENAME_NOREPLACE, refuses an existing name (and a link of that name) on every
 * file system. */
static int target_commit(struct target *t, bool force)
{
	if (fsync(t->fd) < 0)
		return -errno;
	if (force && renameat(t->dirfd, t->temporary, t->dirfd, t->name) < 0)
		return -errno;
	if (!force && linkat(t->dirfd, t->temporary, t->dirfd, t->name, 0) < 0)
		return -errno;
	if (!force)
		unlinkat(t->dirfd, t->temporary, 0);
	t->temporary[0] = '\0';
	return 0;
}

static int to_file(const struct export_options *o, int core, bool compressed, const char *path,
	uint64_t *bytes)
{
	_cleanup_(target_close) struct target t = {.dirfd = -1, .fd = -1};
	struct stat st;
	int r = target_open(path, &t);

	if (r < 0)
		return r;
	/* Known before the work is done; that it still is so afterwards, the link makes sure. */
	if (!o->force && fstatat(t.dirfd, t.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	r = store_unpack(core, compressed, t.fd, true, interrupted, bytes);
	return r < 0 ? r : target_commit(&t, o->force);
}

static int export(
	const struct export_options *o, const struct store *s, const char *id, const char *path)
{
	bool compressed, out = strcmp(path, "-") == 0;
	_cleanup_close_ int core = captures_open_core(s, id, &compressed);
	uint64_t bytes;
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
