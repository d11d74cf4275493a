/* SPDX-License-Identifier: MIT */
#include "capture/registry_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/registry.h"
#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/text.h"

#define SAVED	  "saved"
#define SAVED_NEW "saved.new"
#define SAVED_OLD "saved.old"
#define VALUE_MAX 4096

/* In the order in which they are set: a pipe limit of 0 would let the dying process go at once, and
 * the kernel complains about suid_dumpable 2 while the pattern is a relative path. Put back in the
 * opposite order. */
static const struct {
	const char *path; /* below /proc/sys */
	const char *was;  /* file with the value that was there before */
	const char *set;  /* file with the value that coretrap sets */
} table[] = {
	{"kernel/core_pipe_limit", "core_pipe_limit", "core_pipe_limit.set"},
	{"kernel/core_pattern", "core_pattern", "core_pattern.set"},
	{"fs/suid_dumpable", "suid_dumpable", "suid_dumpable.set"},
};
#define PATTERN 1

struct value {
	char *text;
	size_t len;
};

static void value_free(struct value *v)
{
	free(v->text);
}
#define _cleanup_value_ __attribute__((cleanup(value_free)))

static int value_read(int dirfd, const char *name, struct value *out)
{
	free(out->text);
	*out = (struct value){};
	return io_read_file_at(dirfd, name, VALUE_MAX, &out->text, &out->len);
}

static bool value_equal(const struct value *a, const struct value *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* A setting takes one write; O_TRUNC is for the tests' ordinary files, the kernel ignores it. */
static int value_write(int dirfd, const char *name, const struct value *v)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, v->text, v->len);
	if (n < 0)
		return -errno;
	return (size_t)n == v->len ? 0 : -EIO;
}

static void saved_remove(int runtimefd, const char *name)
{
	_cleanup_close_ int dir = -1;

	if (runtime_open_below(runtimefd, name, 0, &dir) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		unlinkat(dir, table[i].was, 0);
		unlinkat(dir, table[i].set, 0);
	}
	unlinkat(runtimefd, name, AT_REMOVEDIR);
}

/* By one rename, as they came: half of the saved values would be taken for all of them. */
static int saved_forget(int runtimefd)
{
	saved_remove(runtimefd, SAVED_OLD);
	if (renameat(runtimefd, SAVED, runtimefd, SAVED_OLD) < 0)
		return -errno;
	saved_remove(runtimefd, SAVED_OLD);
	return 0;
}

bool settings_saved(const struct settings *s)
{
	return faccessat(s->runtimefd, SAVED, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What coretrap sets in place of WAS, into BUF of SIZE bytes. */
static void wanted(size_t i, const char *pattern, const struct value *was, char *buf, size_t size)
{
	if (i == PATTERN) {
		snprintf(buf, size, "%s\n", pattern);
	} else if (i < PATTERN) {
		unsigned long limit = strtoul(was->text, NULL, 10);

		/* 0 is "no limit", but then the kernel does not wait for the handler either. */
		snprintf(buf, size, "%lu\n",
			limit > REGISTRY_PIPE_LIMIT ? limit : REGISTRY_PIPE_LIMIT);
	} else {
		snprintf(buf, size, "2\n");
	}
}

static int save_one(const struct settings *s, int dir, size_t i, const char *pattern)
{
	_cleanup_value_ struct value was = {};
	char set[REGISTRY_PATTERN_MAX + 2];
	int r = value_read(s->sysctlfd, table[i].path, &was);

	/* Ours, though nothing is saved: somebody emptied the runtime directory. Putting it back at
	 * the end would leave a handler without a daemon, so the kernel's default takes its place.
	 */
	if (r == 0 && i == PATTERN && registry_is_ours(was.text))
		r = runtime_write(dir, table[i].was, "core\n", 5);
	else if (r == 0)
		r = runtime_write(dir, table[i].was, was.text, was.len);
	if (r < 0)
		return r;
	wanted(i, pattern, &was, set, sizeof(set));
	return runtime_write(dir, table[i].set, set, strlen(set));
}

int settings_save(const struct settings *s, const char *pattern)
{
	_cleanup_close_ int dir = -1;
	int r;

	saved_remove(s->runtimefd, SAVED_NEW);
	r = runtime_open_below(s->runtimefd, SAVED_NEW, 1, &dir);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(table); i++)
		r = save_one(s, dir, i, pattern);
	/* One rename for all of them: who is killed before has changed nothing, who is killed after
	 * is undone. */
	if (r == 0 && renameat(s->runtimefd, SAVED_NEW, s->runtimefd, SAVED) < 0)
		r = -errno;
	if (r == 0 && fsync(s->runtimefd) < 0 && errno != EINVAL)
		r = -errno;
	if (r < 0)
		saved_remove(s->runtimefd, SAVED_NEW);
	return r;
}

int settings_apply(const struct settings *s, const char **which)
{
	_cleanup_close_ int dir = -1;
	int r = runtime_open_below(s->runtimefd, SAVED, 0, &dir);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(table); i++) {
		_cleanup_value_ struct value set = {}, now = {};

		if (which)
			*which = table[i].path;
		r = value_read(dir, table[i].set, &set);
		if (r == 0)
			r = value_read(s->sysctlfd, table[i].path, &now);
		if (r == 0 && !value_equal(&set, &now))
			r = value_write(s->sysctlfd, table[i].path, &set);
	}
	return r;
}

static int restore_one(const struct settings *s, int dir, size_t i)
{
	_cleanup_value_ struct value set = {}, was = {}, now = {};
	int r = value_read(dir, table[i].set, &set);

	if (r == 0)
		r = value_read(dir, table[i].was, &was);
	if (r == 0)
		r = value_read(s->sysctlfd, table[i].path, &now);
	if (r < 0 || !value_equal(&now, &set))
		return r;
	return value_write(s->sysctlfd, table[i].path, &was);
}

int settings_restore(const struct settings *s)
{
	_cleanup_close_ int dir = -1;
	int r = runtime_open_below(s->runtimefd, SAVED, 0, &dir);

	if (r < 0)
		return r;
	for (size_t i = ARRAY_SIZE(table); i-- > 0;) {
		int one = restore_one(s, dir, i);

		if (one < 0)
			r = one;
	}
	return r == 0 ? saved_forget(s->runtimefd) : r;
}

int settings_adopt(const struct settings *s, char **foreign)
{
	_cleanup_close_ int dir = -1;
	int changed = 0, r = runtime_open_below(s->runtimefd, SAVED, 0, &dir);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(table); i++) {
		_cleanup_value_ struct value set = {}, now = {};

		r = value_read(dir, table[i].set, &set);
		if (r == 0)
			r = value_read(s->sysctlfd, table[i].path, &now);
		if (r < 0 || value_equal(&now, &set))
			continue;
		changed++;
		r = runtime_write(dir, table[i].was, now.text, now.len);
		if (r == 0 && i == PATTERN) {
			now.text[strcspn(now.text, "\n")] = '\0';
			free(*foreign);
			*foreign = TAKE_PTR(now.text);
		}
	}
	return r < 0 ? r : changed;
}
