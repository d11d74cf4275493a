/* SPDX-License-Identifier: MIT */
/* coretrap debug: a capture in gdb or lldb. */
#include <elfutils/libdwelf.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <libelf.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/captures.h"
#include "cli/commands.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "store/unpack.h"

#define BUILD_ID_MAX 64

struct debug_options {
	struct captures_options captures;
	const char *id;
	const char *debugger; /* NULL: the first that is installed */
	char **extra;
	int extra_count;
};

struct build_id {
	unsigned char bytes[BUILD_ID_MAX];
	int size; /* 0: none */
};

/* How each debugger takes an executable and a core. */
static const struct debugger {
	const char *name, *core, *executable;
} debuggers[] = {
	{"gdb", "-c", "-se"},
	{"lldb", "-c", "-f"},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct debug_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = state->child_inputs[1] = &o->captures;
		return 0;
	case 'd':
		o->debugger = arg;
		for (size_t i = 0; i < ARRAY_SIZE(debuggers); i++)
			if (strcmp(arg, debuggers[i].name) == 0)
				return 0;
		argp_error(state, "--debugger: gdb or lldb, not '%s'", arg);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			return ARGP_ERR_UNKNOWN; /* then all that is left are the debugger's
						    arguments */
		o->id = arg;
		return 0;
	case ARGP_KEY_ARGS:
		o->extra = state->argv + state->next;
		o->extra_count = state->argc - state->next;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "an ID is needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void keep_build_id(struct build_id *id, const void *bytes, ssize_t size)
{
	if (size > 0 && size <= BUILD_ID_MAX) {
		memcpy(id->bytes, bytes, (size_t)size);
		id->size = (int)size;
	}
}

static struct build_id build_id_of_file(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct build_id id = {};
	struct stat st;
	Elf *elf;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return id;
	elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (elf) {
		const void *bytes;
		ssize_t size = dwelf_elf_gnu_build_id(elf, &bytes);

		keep_build_id(&id, bytes, size);
		elf_end(elf);
	}
	return id;
}

struct search {
	const char *path;
	struct build_id id;
};

static int look_at_module(
	Dwfl_Module *m, void **data, const char *name, Dwarf_Addr start, void *arg)
{
	struct search *s = arg;
	const unsigned char *bytes = NULL;
	GElf_Addr where;
	int size;

	(void)data;
	(void)start;
	if (strcmp(name, s->path) != 0)
		return DWARF_CB_OK;
	size = dwfl_module_build_id(m, &bytes, &where);
	keep_build_id(&s->id, bytes, size);
	return DWARF_CB_ABORT;
}

static int find_no_elf(
	Dwfl_Module *m, void **data, const char *name, Dwarf_Addr base, char **file, Elf **elf)
{
	(void)m, (void)data, (void)name, (void)base, (void)file, (void)elf;
	return -1;
}

static int find_no_debuginfo(Dwfl_Module *m, void **data, const char *name, Dwarf_Addr base,
	const char *file, const char *link, GElf_Word crc, char **path)
{
	(void)m, (void)data, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)path;
	return -1;
}

/* The build ID that PATH had when it was mapped into the process, as its first page in the core
 * says. */
static struct build_id build_id_in_core(int core, const char *path)
{
	/* Nothing is to be looked for on this host: only what the core itself holds counts. */
	static const Dwfl_Callbacks callbacks = {
		.find_elf = find_no_elf, .find_debuginfo = find_no_debuginfo};
	struct search s = {.path = path};
	Elf *elf = elf_begin(core, ELF_C_READ_MMAP, NULL);
	Dwfl *dwfl = elf ? dwfl_begin(&callbacks) : NULL;

	if (dwfl) {
		dwfl_report_begin(dwfl);
		if (dwfl_core_file_report(dwfl, elf, NULL) >= 0 &&
			dwfl_report_end(dwfl, NULL, NULL) == 0)
			dwfl_getmodules(dwfl, look_at_module, &s, 0);
		dwfl_end(dwfl);
	}
	elf_end(elf);
	return s.id;
}

/* The executable that the process ran, if it is still the same file; NULL: the debugger gets only
 * the core. */
static const char *find_executable(const json_t *incident, int core)
{
	const char *path =
		json_get_text(captures_at(incident, "process", NULL), "executable", NULL);
	struct build_id now, then;

	if (!path || *path != '/')
		return NULL;
	elf_version(EV_CURRENT);
	now = build_id_of_file(path);
	then = build_id_in_core(core, path);
	if (now.size && now.size == then.size &&
		memcmp(now.bytes, then.bytes, (size_t)now.size) == 0)
		return path;
	fputs("coretrap debug: opening the core alone: ", stderr);
	captures_print(stderr, path, 4096);
	fprintf(stderr, "%s\n",
		!now.size    ? " is gone, or has no build ID"
		: !then.size ? " has no build ID in the core"
			     : " has been replaced since");
	return NULL;
}

/* A file without a name: whatever becomes of us, nothing is left. */
static int nameless_file(const char *dir)
{
	_cleanup_free_ char *name = NULL;
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd < 0 ? -errno : fd;
	if (asprintf(&name, "%s/.coretrap-XXXXXX", dir) < 0)
		return -ENOMEM;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(name);
	return fd;
}

/* Unpacks where there is room: in the store, else where temporary files go. */
static int unpack(const struct store *s, int core, bool compressed)
{
	const char *dirs[] = {s->path, getenv("TMPDIR"), "/var/tmp", "/tmp"};
	int r = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_cleanup_close_ int fd = dirs[i] ? nameless_file(dirs[i]) : -ENOENT;
		uint64_t bytes;

		if (fd < 0) {
			r = dirs[i] ? fd : r;
			continue;
		}
		if (lseek(core, 0, SEEK_SET) < 0)
			return -errno;
		r = store_unpack(core, compressed, fd, true, NULL, &bytes);
		if (r == 0)
			return TAKE_FD(fd);
		if (r != -ENOSPC)
			break;
	}
	return r;
}

static int run(const struct debugger *d, const struct debug_options *o, int core,
	const char *executable, pid_t *child)
{
	/* Through our own descriptor, since the file has no name; it is ours as long as we wait. */
	_cleanup_free_ char **argv = calloc((size_t)o->extra_count + 6, sizeof(*argv));
	char path[64];
	posix_spawnattr_t attr;
	sigset_t defaults;
	int n = 0, r;

	if (!argv)
		return -ENOMEM;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), core);
	argv[n++] = (char *)d->name;
	if (executable) {
		argv[n++] = (char *)d->executable;
		argv[n++] = (char *)executable;
	}
	argv[n++] = (char *)d->core;
	argv[n++] = path;
	for (int i = 0; i < o->extra_count; i++)
		argv[n++] = o->extra[i];
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGINT);
	sigaddset(&defaults, SIGQUIT);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	r = -posix_spawnp(child, d->name, NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	return r;
}

/* The debugger's exit status, or -errno. */
static int debug(const struct debug_options *o, int core, const char *executable)
{
	int r = -ENOENT, status;
	pid_t child = -1;

	/* Ctrl-C is the debugger's. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	for (size_t i = 0; r == -ENOENT && i < ARRAY_SIZE(debuggers); i++)
		if (!o->debugger || strcmp(o->debugger, debuggers[i].name) == 0)
			r = run(&debuggers[i], o, core, executable, &child);
	if (r < 0)
		return r;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int open_and_debug(const struct debug_options *o, const struct store *s, const char *id)
{
	bool compressed;
	_cleanup_close_ int core = captures_open_core(s, id, &compressed);
	_cleanup_json_ json_t *incident = NULL;
	int r;

	if (core < 0) {
		fprintf(stderr, "coretrap debug: capture '%s': %s\n", id,
			core == -ENOENT ? "holds no core" : store_strerror(core));
		return EXIT_FAILED;
	}
	if (compressed) {
		int plain = unpack(s, core, compressed);

		if (plain < 0) {
			fprintf(stderr, "coretrap debug: unpacking '%s': %s\n", id,
				store_strerror(plain));
			return EXIT_FAILED;
		}
		close(core);
		core = plain;
	}
	if (captures_load(&o->captures, s, id, &incident) < 0)
		return EXIT_FAILED;
	r = debug(o, core, find_executable(incident, core));
	if (r == -ENOENT)
		fprintf(stderr, "coretrap debug: %s installed\n",
			o->debugger ? "that debugger is not" : "neither gdb nor lldb is");
	else if (r < 0)
		fprintf(stderr, "coretrap debug: %s\n", strerror(-r));
	return r < 0 ? EXIT_FAILED : r;
}

int cmd_debug(int argc, char **argv)
{
	static const struct argp_child children[] = {
		{&captures_argp, 0, NULL, 0}, {&captures_output_argp, 0, NULL, 0}, {}};
	static const struct argp_option options[] = {
		{"debugger", 'd', "gdb|lldb", 0, "which (default: the first that is installed)", 0},
		{},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "ID [-- ARG...]",
		.doc = "Opens a capture in a debugger, and returns its exit status. "
		       "ID is a name, the unique beginning of one, or 'latest'. ARGs go to the "
		       "debugger.",
		.children = children,
	};
	struct debug_options o = {.captures.command = "debug"};
	_cleanup_store_ struct store s = STORE_NONE;
	char id[STORE_ID_MAX];

	argv[0] = (char *)"coretrap debug";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (captures_open(&o.captures, &s) < 0 || captures_find(&o.captures, &s, o.id, id) < 0)
		return EXIT_FAILED;
	return open_and_debug(&o, &s, id);
}
