/* SPDX-License-Identifier: MIT */
#include "rules/who.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

/* More of an argument list than this is not matched against; the kernel side copies less. */
#define CMDLINE_MAX 4096

int who_list_add(struct who_list *list, const char *pattern)
{
	char **bigger = reallocarray(list->v, list->n + 1, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	list->v = bigger;
	bigger[list->n] = strdup(pattern);
	if (!bigger[list->n])
		return -ENOMEM;
	list->n++;
	return 0;
}

void who_list_free(struct who_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->v[i]);
	free(list->v);
	*list = (struct who_list){};
}

void who_free(struct who *w)
{
	for (size_t i = 0; i < w->process_count; i++)
		process_close(&w->processes[i]);
	for (size_t k = 0; k < WHO_KINDS; k++)
		who_list_free(&w->globs[k]);
	free(w->processes);
	free(w->users);
	*w = (struct who){};
}

int who_add_process(struct who *w, pid_t pid)
{
	struct process *bigger = reallocarray(w->processes, w->process_count + 1, sizeof(*bigger));
	int r;

	if (!bigger)
		return -ENOMEM;
	w->processes = bigger;
	r = process_open(pid, &bigger[w->process_count]);
	if (r == 0)
		w->process_count++;
	return r;
}

int who_add_user(struct who *w, const char *name_or_id)
{
	uid_t *bigger = reallocarray(w->users, w->user_count + 1, sizeof(*bigger));
	const struct passwd *entry;
	uint64_t id;

	if (!bigger)
		return -ENOMEM;
	w->users = bigger;
	if (text_parse_u64(name_or_id, &id) == 0) {
		if (id >= UINT32_MAX)
			return -ERANGE;
	} else {
		entry = getpwnam(name_or_id);
		if (!entry)
			return -ENOENT;
		id = entry->pw_uid;
	}
	bigger[w->user_count++] = (uid_t)id;
	return 0;
}

int who_add_glob(struct who *w, enum who_kind kind, const char *pattern)
{
	return who_list_add(&w->globs[kind], pattern);
}

bool who_has_globs(const struct who *w)
{
	for (size_t k = 0; k < WHO_KINDS; k++)
		if (w->globs[k].n)
			return true;
	return false;
}

bool who_is_empty(const struct who *w)
{
	return !w->all && !w->process_count && !w->user_count && !who_has_globs(w);
}

bool who_is_pids_only(const struct who *w)
{
	return w->process_count > 0;
}

bool who_is_changeable(const struct who *w)
{
	return w->user_count || w->globs[WHO_CGROUP].n || w->globs[WHO_UNIT].n ||
	       w->globs[WHO_CONTAINER].n;
}

static bool any_matches(const struct who_list *list, const char *s)
{
	for (size_t i = 0; s && i < list->n; i++)
		if (text_glob(list->v[i], s))
			return true;
	return false;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const char *next_argument(const struct identity *id, const char *argument)
{
	const char *next = argument + strlen(argument) + 1;

	return next < id->arguments + id->arguments_size ? next : NULL;
}

/* The script or jar that an interpreter was told to run: the first argument that is not an option,
 * and for java what follows -jar. NULL if the executable is no interpreter that is known. */
static const char *script_name(const struct identity *id)
{
	static const char *const interpreters[] = {"python*", "node*", "perl*", "ruby*", "bash",
		"sh", "dash", "php*", "lua*", "dotnet", "java", "tclsh*", "pypy*", "deno", "bun",
		"Rscript"};
	const char *argument = id->arguments, *program;
	bool known = false;

	if (!argument || !id->arguments_size)
		return NULL;
	program = base_name(id->executable ? id->executable : argument);
	for (size_t i = 0; i < ARRAY_SIZE(interpreters); i++)
		known |= text_glob(interpreters[i], program);
	if (!known)
		return NULL;
	while ((argument = next_argument(id, argument)) != NULL) {
		if (strcmp(argument, "-jar") == 0) {
			argument = next_argument(id, argument);
			return argument ? base_name(argument) : NULL;
		}
		if (strcmp(argument, "-m") == 0) /* python -m module */
			return next_argument(id, argument);
		if (argument[0] != '-')
			return base_name(argument);
	}
	return NULL;
}

static bool name_matches(const struct who_list *list, const struct identity *id)
{
	return any_matches(list, id->comm) ||
	       (id->executable && any_matches(list, base_name(id->executable))) ||
	       any_matches(list, script_name(id));
}

static bool cmdline_matches(const struct who_list *list, const struct identity *id)
{
	size_t len = id->arguments_size < CMDLINE_MAX ? id->arguments_size : CMDLINE_MAX;
	_cleanup_free_ char *joined = malloc(len + 1);

	if (!joined || !id->arguments)
		return false;
	memcpy(joined, id->arguments, len);
	joined[len] = '\0';
	while (len && joined[len - 1] == '\0')
		len--;
	for (size_t i = 0; i < len; i++)
		if (joined[i] == '\0')
			joined[i] = ' ';
	return any_matches(list, joined);
}

/* The whole path, or one of its components. */
static bool cgroup_matches(const struct who_list *list, const char *cgroup)
{
	_cleanup_free_ char *copy = cgroup ? strdup(cgroup) : NULL;
	char *rest = copy, *component;

	if (!copy)
		return false;
	if (any_matches(list, cgroup))
		return true;
	while ((component = strsep(&rest, "/")) != NULL)
		if (*component && any_matches(list, component))
			return true;
	return false;
}

/* "nginx" means "nginx.service", as systemctl has it. */
static bool unit_matches(const struct who_list *list, const char *cgroup)
{
	for (size_t i = 0; i < list->n; i++) {
		char with_suffix[300];
		char *names[2] = {list->v[i], with_suffix};
		struct who_list one = {names, 1};

		if (!strrchr(list->v[i], '.') &&
			strlen(list->v[i]) < sizeof(with_suffix) - sizeof(".service")) {
			snprintf(with_suffix, sizeof(with_suffix), "%s.service", list->v[i]);
			one.n = 2;
		}
		if (cgroup_matches(&one, cgroup))
			return true;
	}
	return false;
}

static bool container_matches(const struct who_list *list, const struct identity *id)
{
	for (size_t i = 0; i < list->n; i++) {
		size_t len = strlen(list->v[i]);

		if (len >= 12 && id->container_id[0] &&
			strncmp(id->container_id, list->v[i], len) == 0)
			return true;
	}
	return cgroup_matches(list, id->cgroup);
}

static bool globs_match(const struct who *w, const struct identity *id)
{
	const struct who_list *g = w->globs;

	return (!g[WHO_NAME].n || name_matches(&g[WHO_NAME], id)) &&
	       (!g[WHO_EXE].n || any_matches(&g[WHO_EXE], id->executable)) &&
	       (!g[WHO_CMDLINE].n || cmdline_matches(&g[WHO_CMDLINE], id)) &&
	       (!g[WHO_CGROUP].n || cgroup_matches(&g[WHO_CGROUP], id->cgroup)) &&
	       (!g[WHO_UNIT].n || unit_matches(&g[WHO_UNIT], id->cgroup)) &&
	       (!g[WHO_CONTAINER].n || container_matches(&g[WHO_CONTAINER], id));
}

static bool pid_matches(const struct who *w, const struct identity *id)
{
	for (size_t i = 0; i < w->process_count; i++)
		if (w->processes[i].pid == id->pid &&
			w->processes[i].start_ticks == id->start_ticks)
			return true;
	return w->process_count == 0;
}

static bool user_matches(const struct who *w, const struct identity *id)
{
	for (size_t i = 0; i < w->user_count; i++)
		if (w->users[i] == id->uid)
			return true;
	return w->user_count == 0;
}

bool who_matches(const struct who *w, const struct identity *id)
{
	return !who_is_empty(w) && pid_matches(w, id) && user_matches(w, id) && globs_match(w, id);
}
