/* SPDX-License-Identifier: MIT */
/* coretrap procdump: a command line of Sysinternals' ProcDump, run in coretrap's own words. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/destination.h"
#include "cli/procdump_options.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "rules/who.h"
#include "target/process.h"

#define LISTED_MAX 10 /* ids in a message; how many there are is said as well */

struct found {
	pid_t *pids;
	size_t n;
};

static void found_free(struct found *f)
{
	free(f->pids);
}

/* FORMAT has one %s, for WORD, which is shown printable. */
static int complain(int status, const char *word, const char *format)
{
	_cleanup_free_ char *shown = text_printable(word, strlen(word), 60);
	const char *at = strstr(format, "%s");

	fprintf(stderr, "coretrap procdump: %.*s%s%s\n", (int)(at - format), format,
		shown ? shown : "", at + 2);
	return status;
}

static int found_add(struct found *f, pid_t pid)
{
	pid_t *bigger = reallocarray(f->pids, f->n + 1, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	bigger[f->n++] = pid;
	f->pids = bigger;
	return 0;
}

/* A name as ProcDump takes it, which may end in ".exe", as a pattern that matches it alone. */
static char *literal(const char *name)
{
	size_t len = strlen(name), used = 0;
	char *pattern = malloc(2 * len + 1);

	if (len > 4 && strcasecmp(name + len - 4, ".exe") == 0)
		len -= 4;
	for (size_t i = 0; pattern && i < len; i++) {
		if (strchr("*?[\\", name[i]))
			pattern[used++] = '\\';
		pattern[used++] = name[i];
	}
	if (pattern)
		pattern[used] = '\0';
	return pattern;
}

/* Processes with WHO's name, or in the group PGID. Kernel threads have no executable. */
static int find(const struct who *who, pid_t pgid, struct found *out)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	const struct dirent *entry;
	uint64_t pid;
	int r = proc ? 0 : -errno;

	while (r == 0 && (entry = readdir(proc)) != NULL) {
		_cleanup_identity_ struct identity id = {0};
		_cleanup_process_ struct process p = PROCESS_NONE;

		if (text_parse_u64(entry->d_name, &pid) < 0 || pid == (uint64_t)getpid() ||
			(pgid && getpgid((pid_t)pid) != pgid) || process_open((pid_t)pid, &p) < 0 ||
			identity_read(p.procfd, &id) < 0)
			continue;
		if (id.executable && (pgid || who_matches(who, &id)))
			r = found_add(out, (pid_t)pid);
	}
	return r;
}

static int find_name(const char *pattern, struct found *out)
{
	struct who who = {0};
	int r = who_add_glob(&who, WHO_NAME, pattern);

	r = r < 0 ? r : find(&who, 0, out);
	who_free(&who);
	return r;
}

static int ambiguous(const char *name, const struct found *f)
{
	char list[LISTED_MAX * 12 + 80] = "'%s' is the name of several processes; give one's id:";
	size_t used = strlen(list);

	for (size_t i = 0; i < f->n && i < LISTED_MAX; i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, " %d", (int)f->pids[i]);
	if (f->n > LISTED_MAX)
		snprintf(list + used, sizeof(list) - used, " and %zu more", f->n - LISTED_MAX);
	return complain(EXIT_USAGE, name, list);
}

static int resolve_group(const struct procdump *p, struct found *out)
{
	uint64_t group;

	if (text_parse_u64(p->process, &group) < 0 || group == 0 || group > INT32_MAX)
		return complain(EXIT_USAGE, p->process, "-pgid: '%s' is not the id of a group");
	if (find(NULL, (pid_t)group, out) < 0)
		return EXIT_FAILED;
	if (out->n == 0)
		return complain(EXIT_TARGET_GONE, p->process, "there is no process group %s");
	if (out->n > 1 && !procdump_waits(p))
		return complain(EXIT_USAGE, p->process,
			"-pgid: group %s has several processes, and one can be dumped at once");
	return 0;
}

/* Looks until it is there; the one wait that no event of the kernel side ends, since nothing is
 * watched yet. */
static int wait_for(const char *name, const char *pattern, struct found *out)
{
	const struct timespec nap = {.tv_nsec = 100 * NSEC_PER_MSEC};
	int r = 0;

	complain(0, name, "waiting for a process called '%s'");
	while (r == 0 && out->n == 0) {
		nanosleep(&nap, NULL);
		r = find_name(pattern, out);
	}
	return r < 0 ? EXIT_FAILED : 0;
}

/* Whom the command line means: ids in OUT, or in *NAME the pattern of one that is to come. 0 or an
 * exit status, after it was said why. */
static int resolve(const struct procdump *p, struct found *out, char **name)
{
	_cleanup_free_ char *pattern = NULL;
	uint64_t pid;
	int r;

	if (procdump_has(p, PROCDUMP_PGID))
		return resolve_group(p, out);
	if (text_parse_u64(p->process, &pid) == 0) {
		if (procdump_has(p, PROCDUMP_W))
			return complain(EXIT_USAGE, p->process, "-w: waits for a name, not for %s");
		if (pid == 0 || pid > INT32_MAX)
			return complain(EXIT_USAGE, p->process, "'%s' is not a process id");
		return found_add(out, (pid_t)pid) < 0 ? EXIT_FAILED : 0;
	}
	pattern = literal(p->process);
	if (!pattern || find_name(pattern, out) < 0)
		return EXIT_FAILED;
	if (out->n > 1)
		return ambiguous(p->process, out);
	if (out->n == 1)
		return 0;
	if (!procdump_has(p, PROCDUMP_W))
		return complain(EXIT_TARGET_GONE, p->process,
			"there is no process called '%s' (-w waits for one)");
	if (procdump_waits(p)) {
		*name = TAKE_PTR(pattern);
		return 0;
	}
	r = wait_for(p->process, pattern, out);
	return r == 0 && out->n > 1 ? ambiguous(p->process, out) : r;
}

/* Options that make no sense, before anybody is looked for. */
static int check_options(const struct procdump *p, bool folder)
{
	const pid_t any = 1;
	const struct procdump_target target = {.pids = &any, .n = 1, .folder = folder};
	char why[PROCDUMP_WHY_MAX] = "out of memory";
	struct procdump_words words = {0};
	int r = procdump_translate(p, &target, &words, why);

	procdump_words_free(&words);
	if (r < 0)
		fprintf(stderr, "coretrap procdump: %s\n", why);
	return r == 0 ? 0 : r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

static int run(const struct procdump *p, const struct procdump_target *target)
{
	char why[PROCDUMP_WHY_MAX] = "out of memory";
	struct procdump_words words = {0};
	_cleanup_process_ struct process held = PROCESS_NONE;
	char *first;
	int status = procdump_translate(p, target, &words, why);

	if (status < 0) {
		fprintf(stderr, "coretrap procdump: %s\n", why);
		return status == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
	}
	first = words.v[0];
	if (strcmp(first, "watch") == 0) {
		status = cmd_watch((int)words.n, words.v);
	} else {
		bool end = procdump_has(p, PROCDUMP_K) && process_open(target->pids[0], &held) == 0;

		status = cmd_dump((int)words.n, words.v);
		if (status == EXIT_CAPTURED && end &&
			syscall(SYS_pidfd_send_signal, held.pidfd, SIGKILL, NULL, 0) < 0)
			status = EXIT_FAILED;
	}
	words.v[0] = first; /* which the commands set */
	procdump_words_free(&words);
	return status;
}

static int print_help(void)
{
	size_t n;
	const struct procdump_option *o = procdump_options(&n);

	puts("usage: coretrap procdump [OPTION…] NAME|PID [FILE|FOLDER]\n"
	     "       coretrap procdump [OPTION…] -x FOLDER IMAGE [ARGUMENT…]\n");
	for (size_t i = 0; i < n; i++)
		printf("  %s%s%s\n      %s\n      %s%s\n", o[i].name, o[i].value ? " " : "",
			o[i].value ? o[i].value : "", o[i].meaning,
			o[i].becomes ? "coretrap: " : "refused: ",
			o[i].becomes ? o[i].becomes : o[i].refused);
	return 0;
}

int cmd_procdump(int argc, char **argv)
{
	char why[PROCDUMP_WHY_MAX];
	_cleanup_(found_free) struct found found = {0};
	_cleanup_free_ char *name = NULL;
	struct procdump p;
	bool folder;
	int status;

	if (procdump_parse(argc, argv, &p, why) < 0) {
		fprintf(stderr, "coretrap procdump: %s\n", why);
		return EXIT_USAGE;
	}
	if (procdump_has(&p, PROCDUMP_HELP))
		return print_help();
	folder = p.path && destination_form(p.path) == OUTPUT_STORE;
	status = check_options(&p, folder);
	if (status)
		return status;
	if (!p.command) {
		if (!p.process) {
			fputs("coretrap procdump: a process is missing (name or id; -? says "
			      "more)\n",
				stderr);
			return EXIT_USAGE;
		}
		status = resolve(&p, &found, &name);
		if (status)
			return status;
	}
	return run(&p, &(struct procdump_target){
			       .pids = found.pids, .n = found.n, .name = name, .folder = folder});
}
