/* SPDX-License-Identifier: MIT */
#include "capture/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/registry_settings.h"
#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"

#define LOCK	  "lock"
#define OWNERS	  "owners"
#define LOCK_NS	  (5 * NSEC_PER_SEC) /* it is held for milliseconds */
#define OWNER_MAX 8192
/* What the handler is told: process, faulting thread, signal, time, dump mode, soft core limit,
 * user, group, CPU, host name. The last two are for the handler that was there before. */
#define ARGUMENTS " core-handler %P %I %s %t %d %c %u %g %C %h"

struct registry {
	struct settings settings; /* owns both descriptors */
	pid_t pid;		  /* who joined: a forked child must not leave */
	char name[RUNTIME_NAME_MAX];
	char *foreign;
	unsigned int fights;
};

static void registry_free(struct registry **r)
{
	if (!*r)
		return;
	cleanup_close(&(*r)->settings.runtimefd);
	cleanup_close(&(*r)->settings.sysctlfd);
	free((*r)->foreign);
	free(*r);
	*r = NULL;
}
#define _cleanup_registry_ __attribute__((cleanup(registry_free)))

__attribute__((format(printf, 3, 4))) static int fail(
	int r, char why[REGISTRY_WHY_MAX], const char *format, ...)
{
	va_list args;

	if (why) {
		va_start(args, format);
		vsnprintf(why, REGISTRY_WHY_MAX, format, args);
		va_end(args);
	}
	return r;
}

int registry_pattern(
	const char *program, char out[REGISTRY_PATTERN_MAX + 1], char why[REGISTRY_WHY_MAX])
{
	size_t len = 1 + strlen(program) + strlen(ARGUMENTS);

	if (program[0] != '/' || strpbrk(program, " \t\n%"))
		return fail(-EINVAL, why,
			"kernel.core_pattern cannot name this program: its path must be absolute, "
			"without "
			"blanks and without '%%': %.150s",
			program);
	if (len > REGISTRY_PATTERN_MAX)
		return fail(-ENAMETOOLONG, why,
			"kernel.core_pattern holds %d characters, with this program's path it "
			"would take "
			"%zu: install it under a shorter path",
			REGISTRY_PATTERN_MAX, len);
	snprintf(out, REGISTRY_PATTERN_MAX + 1, "|%s%s", program, ARGUMENTS);
	return 0;
}

bool registry_is_ours(const char *text)
{
	const char *blank = strchr(text, ' ');

	return text[0] == '|' && blank && strncmp(blank, " core-handler %P ", 17) == 0;
}

void registry_owners_free(struct registry_owners *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->v[i].cgroup);
	free(o->v);
	*o = (struct registry_owners){};
}

/* The dead cost little, the living must not lose the pattern. */
static bool owner_alive(const char *name, struct registry_owner *out)
{
	return runtime_parse_name(name, "", &out->pid, &out->start_ticks) == 0 &&
	       runtime_is_alive(out->pid, out->start_ticks);
}

static int owner_read(int dir, const char *name, struct registry_owner *out)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	const char *cgroup;
	size_t len;
	int r = io_read_file_at(dir, name, OWNER_MAX, &text, &len);

	if (r < 0)
		return r;
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json)
		return -EINVAL;
	snprintf(out->socket, sizeof(out->socket), "%s", json_get_text(json, "socket", ""));
	cgroup = json_get_text(json, "cgroup", NULL);
	out->cgroup = cgroup ? strdup(cgroup) : NULL;
	return cgroup && !out->cgroup ? -ENOMEM : 0;
}

static int owners_add(struct registry_owners *all, const struct registry_owner *one)
{
	struct registry_owner *bigger = reallocarray(all->v, all->n + 1, sizeof(*all->v));

	if (!bigger) {
		free(one->cgroup);
		return -ENOMEM;
	}
	all->v = bigger;
	all->v[all->n++] = *one;
	return 0;
}

/* Those that live; with REAP what the dead left is removed too (the caller holds the lock). */
static int owners_list(int runtimefd, bool reap, struct registry_owners *out)
{
	_cleanup_registry_owners_ struct registry_owners all = {};
	_cleanup_closedir_ DIR *stream = NULL;
	_cleanup_close_ int dir = -1;
	const struct dirent *entry;
	int r = runtime_open_below(runtimefd, OWNERS, reap, &dir);

	if (r < 0)
		return r;
	stream = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 3));
	if (!stream)
		return -errno;
	while ((entry = readdir(stream))) {
		struct registry_owner owner = {};
		char socket[sizeof(entry->d_name) + 8];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (owner_alive(entry->d_name, &owner)) {
			/* One that cannot be read is as good as none for a handler, but it keeps
			 * the pattern. */
			if (owner_read(dir, entry->d_name, &owner) < 0 && !reap)
				continue;
			r = owners_add(&all, &owner);
			if (r < 0)
				return r;
		} else if (reap) {
			snprintf(socket, sizeof(socket), "%s.sock", entry->d_name);
			unlinkat(runtimefd, socket, 0);
			unlinkat(dir, entry->d_name, 0);
		}
	}
	*out = all;
	all = (struct registry_owners){};
	return 0;
}

int registry_owners(int runtimefd, struct registry_owners *out)
{
	return owners_list(runtimefd, false, out);
}

int registry_previous(int runtimefd, char **pattern, int *suid_dumpable)
{
	_cleanup_free_ char *text = NULL, *suid = NULL;
	int r = io_read_file_at(runtimefd, "saved/core_pattern", 4096, &text, NULL);

	if (r == 0)
		r = io_read_file_at(runtimefd, "saved/suid_dumpable", 64, &suid, NULL);
	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	*pattern = TAKE_PTR(text);
	*suid_dumpable = atoi(suid);
	return 0;
}

static int owner_write(const struct registry *r, const char *cgroup)
{
	_cleanup_json_ json_t *json = json_object();
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int dir = -1;
	char socket[108];
	int e = runtime_open_below(r->settings.runtimefd, OWNERS, 1, &dir);

	if (e < 0)
		return e;
	snprintf(socket, sizeof(socket), RUNTIME_DIRECTORY "/%s.sock", r->name);
	e = json_put_int(json, "pid", r->pid);
	if (e == 0)
		e = json_put_text(json, "socket", socket);
	if (e == 0 && cgroup)
		e = json_put_text(json, "cgroup", cgroup);
	if (e < 0)
		return e;
	text = json_dumps(json, JSON_COMPACT);
	return text ? runtime_write(dir, r->name, text, strlen(text)) : -ENOMEM;
}

static void owner_remove(const struct registry *r)
{
	_cleanup_close_ int dir = -1;

	if (runtime_open_below(r->settings.runtimefd, OWNERS, 0, &dir) == 0)
		unlinkat(dir, r->name, 0);
}

/* Saves and sets, or undoes. The lock is held. */
static int arm(struct registry *r, const char *pattern, bool shared, char why[REGISTRY_WHY_MAX])
{
	const char *which = "the saved settings";
	int e;

	if (!shared && settings_saved(&r->settings)) {
		/* Nobody lives who set this: its owner was killed. */
		e = settings_restore(&r->settings);
		if (e < 0)
			return fail(e, why, "what a killed coretrap had set cannot be put back: %s",
				strerror(-e));
	}
	if (!settings_saved(&r->settings)) {
		e = settings_save(&r->settings, pattern);
		if (e < 0)
			return fail(e, why, "the settings that are there cannot be saved: %s",
				strerror(-e));
	} else {
		e = settings_adopt(&r->settings, &r->foreign);
		if (e < 0)
			return fail(e, why, "the shared settings cannot be read: %s", strerror(-e));
	}
	e = settings_apply(&r->settings, &which);
	if (e < 0) {
		if (!shared)
			settings_restore(&r->settings);
		return fail(e, why, "/proc/sys/%s cannot be set: %s", which, strerror(-e));
	}
	return 0;
}

static int new_registry(const struct registry_places *places, struct registry **out)
{
	_cleanup_registry_ struct registry *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->settings.sysctlfd = -1;
	r->settings.runtimefd = fcntl(places->runtimefd, F_DUPFD_CLOEXEC, 3);
	if (r->settings.runtimefd < 0)
		return -errno;
	r->settings.sysctlfd = fcntl(places->sysctlfd, F_DUPFD_CLOEXEC, 3);
	if (r->settings.sysctlfd < 0)
		return -errno;
	r->pid = getpid();
	e = runtime_own_name(r->name);
	if (e < 0)
		return e;
	*out = TAKE_PTR(r);
	return 0;
}

int registry_join(
	const struct registry_places *places, struct registry **out, char why[REGISTRY_WHY_MAX])
{
	_cleanup_registry_owners_ struct registry_owners owners = {};
	_cleanup_registry_ struct registry *r = NULL;
	char pattern[REGISTRY_PATTERN_MAX + 1];
	_cleanup_close_ int lock = -1;
	int e = registry_pattern(places->program, pattern, why);

	if (e < 0)
		return e;
	e = new_registry(places, &r);
	if (e == 0)
		e = runtime_lock(places->runtimefd, LOCK, LOCK_NS, &lock);
	if (e == -ETIMEDOUT)
		return fail(e, why,
			"another coretrap has held " RUNTIME_DIRECTORY "/" LOCK
			" for seconds: is it stopped?");
	if (e == 0)
		e = owners_list(places->runtimefd, true, &owners);
	if (e == 0)
		e = owner_write(r, places->cgroup);
	if (e < 0)
		return fail(e, why, "the runtime directory cannot be used: %s", strerror(-e));
	e = arm(r, pattern, owners.n > 0, why);
	if (e < 0) {
		owner_remove(r);
		return e;
	}
	*out = TAKE_PTR(r);
	return 0;
}

/* Where the kernel's only cgroup2 hierarchy is mounted, with this process' place in it: a new
 * string, or NULL. */
static char *own_cgroup(void)
{
	_cleanup_free_ char *text = NULL;
	char *line, *path = NULL, line_buf[PATH_MAX + 256];
	struct mntent entry;
	FILE *mounts;

	if (io_read_file_at(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL) < 0)
		return NULL;
	line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	mounts = setmntent("/proc/self/mounts", "re");
	if (!line || !mounts) {
		if (mounts)
			endmntent(mounts);
		return NULL;
	}
	line = strchr(line, '/');
	if (line)
		line[strcspn(line, "\n")] = '\0';
	while (line && !path && getmntent_r(mounts, &entry, line_buf, sizeof(line_buf))) {
		if (strcmp(entry.mnt_type, "cgroup2") == 0 &&
			asprintf(&path, "%s%s", entry.mnt_dir, line) < 0)
			path = NULL;
	}
	endmntent(mounts);
	return path;
}

int registry_join_host(struct registry **out, char why[REGISTRY_WHY_MAX])
{
	_cleanup_close_ int runtimefd = -1, sysctlfd = -1;
	_cleanup_free_ char *cgroup = own_cgroup();
	char program[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
	int e;

	if (len < 0)
		return fail(-errno, why, "/proc/self/exe cannot be read: %s", strerror(errno));
	program[len] = '\0';
	e = runtime_open(RUNTIME_DIRECTORY, 1, &runtimefd);
	if (e < 0)
		return fail(e, why, RUNTIME_DIRECTORY " cannot be used: %s", strerror(-e));
	sysctlfd = open("/proc/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sysctlfd < 0)
		return fail(-errno, why, "/proc/sys cannot be opened: %s", strerror(errno));
	return registry_join(&(struct registry_places){.runtimefd = runtimefd,
				     .sysctlfd = sysctlfd,
				     .program = program,
				     .cgroup = cgroup},
		out, why);
}

int registry_check(struct registry *r)
{
	_cleanup_close_ int lock = -1;
	int e, changed;

	if (r->fights > REGISTRY_FIGHTS_MAX)
		return 0;
	/* Whose turn it is looks for all; nobody waits here, crash handlers do meanwhile. */
	e = runtime_lock(r->settings.runtimefd, LOCK, 0, &lock);
	if (e < 0)
		return e == -ETIMEDOUT ? 0 : e;
	changed = settings_adopt(&r->settings, &r->foreign);
	if (changed <= 0)
		return changed;
	if (++r->fights > REGISTRY_FIGHTS_MAX)
		return -EBUSY;
	e = settings_apply(&r->settings, NULL);
	return e < 0 ? e : 1;
}

const char *registry_rewritten(const struct registry *r)
{
	return r->foreign ? r->foreign : "";
}

int registry_leave(struct registry **registry)
{
	_cleanup_registry_owners_ struct registry_owners owners = {};
	_cleanup_registry_ struct registry *r = *registry;
	_cleanup_close_ int lock = -1;
	int e;

	*registry = NULL;
	if (!r || r->pid != getpid())
		return 0;
	/* Before the lock, so that whoever keeps that from us puts the settings back in our stead.
	 */
	owner_remove(r);
	e = runtime_lock(r->settings.runtimefd, LOCK, LOCK_NS, &lock);
	if (e < 0)
		return e;
	e = owners_list(r->settings.runtimefd, true, &owners);
	if (e < 0 || owners.n > 0)
		return e;
	return settings_saved(&r->settings) ? settings_restore(&r->settings) : 0;
}
