/* SPDX-License-Identifier: MIT */
/* A file pattern, served as the kernel would (do_coredump() of fs/coredump.c). */
#include "capture/passthrough.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define CORE_MIN   4096 /* min_coredump of the ELF loader: below, the kernel writes none */
#define BLOCK	   4096
#define CHUNK	   (64 * BLOCK)
#define GROUPS_MAX 65536

struct credentials {
	uid_t fsuid;
	gid_t fsgid;
	gid_t *groups;
	size_t group_count;
	uint64_t capabilities; /* effective */
};

static void credentials_free(struct credentials *c)
{
	free(c->groups);
}
#define _cleanup_credentials_ __attribute__((cleanup(credentials_free)))

__attribute__((format(printf, 3, 4))) static int leave_out(
	int r, char **reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (vasprintf(reason, format, args) < 0)
		*reason = NULL;
	va_end(args);
	return r;
}

static int parse_groups(const char *text, struct credentials *c)
{
	c->groups = NULL;
	c->group_count = 0;
	while (*text && *text != '\n') {
		char *end;
		unsigned long group = strtoul(text, &end, 10);
		gid_t *bigger;

		if (end == text)
			break;
		if (c->group_count == GROUPS_MAX)
			return -E2BIG;
		bigger = reallocarray(c->groups, c->group_count + 1, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		c->groups = bigger;
		c->groups[c->group_count++] = (gid_t)group;
		text = end;
	}
	return 0;
}

static int credentials_read(int taskfd, struct credentials *out)
{
	_cleanup_free_ char *text = NULL;
	const char *uid, *gid, *groups, *capabilities;
	unsigned long long bits;
	int r = io_read_file_at(taskfd, "status", 1 << 20, &text, NULL);

	if (r < 0)
		return r;
	uid = strstr(text, "\nUid:");
	gid = strstr(text, "\nGid:");
	groups = strstr(text, "\nGroups:");
	capabilities = strstr(text, "\nCapEff:");
	if (!uid || !gid || !groups || !capabilities ||
		sscanf(uid + 5, " %*u %*u %*u %u", &out->fsuid) != 1 ||
		sscanf(gid + 5, " %*u %*u %*u %u", &out->fsgid) != 1 ||
		sscanf(capabilities + 8, " %llx", &bits) != 1)
		return -EINVAL;
	out->capabilities = bits;
	return parse_groups(groups + 8, out);
}

/* From here on this process reaches only the files that the dying one could. */
static int credentials_take(const struct credentials *c, bool as_root)
{
	static const cap_value_t file_rights[] = {
		CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID};
	cap_t now;
	int r = 0;

	if (setgroups(c->group_count, c->groups) < 0)
		return -errno;
	setfsgid(c->fsgid);
	if (as_root)
		return 0;
	/* For another user than root this takes the rights over files away as well. */
	setfsuid(c->fsuid);
	if (setfsuid((uid_t)-1) != (int)c->fsuid || setfsgid((gid_t)-1) != (int)c->fsgid)
		return -EPERM;
	now = cap_get_proc();
	if (!now)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(file_rights); i++)
		if (!(c->capabilities >> file_rights[i] & 1))
			cap_set_flag(now, CAP_EFFECTIVE, 1, &file_rights[i], CAP_CLEAR);
	if (cap_set_proc(now) < 0)
		r = -errno;
	cap_free(now);
	return r;
}

/* The directory that PATH (cut behind its last slash, "" for none) names for the dying process.
 * Links that lead out of its root, and those of /proc that this process may follow but that one may
 * not, are refused. */
static int open_directory(const struct passthrough *p, const char *path, bool as_root)
{
	bool absolute = path[0] == '/';
	_cleanup_close_ int base = -1;
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_MAGICLINKS | (absolute ? RESOLVE_IN_ROOT : RESOLVE_BENEATH)};
	int fd;

	if (as_root)
		base = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	else
		base = openat(
			p->taskfd, absolute ? "root" : "cwd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, base, *path ? path : ".", &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

static int create_core(int dir, const char *name, bool as_root, uid_t owner, char **reason)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!as_root && unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return leave_out(
			-errno, reason, "an older core is in the way: %s", strerror(errno));
	fd = openat(
		dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return leave_out(
			-errno, reason, "the core could not be created: %s", strerror(errno));
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != owner ||
		(st.st_mode & 0677) != 0600) {
		unlinkat(dir, name, 0);
		return leave_out(
			-EPERM, reason, "the file system changed the core's owner or mode");
	}
	return TAKE_FD(fd);
}

int passthrough_copy(int from, int to, uint64_t limit)
{
	_cleanup_free_ char *chunk = malloc(CHUNK);
	uint64_t written = 0, at = 0;

	if (!chunk)
		return -ENOMEM;
	for (;;) {
		ssize_t n = io_read_upto(from, chunk, CHUNK);

		if (n < 0)
			return (int)n;
		for (size_t i = 0; i < (size_t)n; i += BLOCK) {
			size_t len = (size_t)n - i < BLOCK ? (size_t)n - i : BLOCK;
			ssize_t w;

			at += len;
			if (io_is_zero(chunk + i, len))
				continue;
			if (len > limit - written)
				return ftruncate(to, (off_t)(at - len)) < 0 ? -errno : -EFBIG;
			w = pwrite(to, chunk + i, len, (off_t)(at - len));
			if (w != (ssize_t)len)
				return w < 0 ? -errno : -ENOSPC;
			written += len;
		}
		if (n < CHUNK)
			return ftruncate(to, (off_t)at) < 0 ? -errno : 0;
	}
}

/* PATH is cut: its directory part stays, the name is returned. */
static char *split(char *path, char *name, size_t size)
{
	char *slash = strrchr(path, '/');

	snprintf(name, size, "%s", slash ? slash + 1 : path);
	*(slash ? slash + 1 : path) = '\0';
	return name;
}

static int core_path(const struct passthrough *p, const char *pattern, char **out)
{
	_cleanup_free_ char *path = NULL;
	int pid_used, r = passthrough_expand(pattern, &p->values, &path, &pid_used);

	if (r < 0)
		return r;
	if (!pid_used && p->uses_pid && atoi(p->uses_pid)) {
		if (asprintf(out, "%s.%d", path, p->values.ns_pid) < 0)
			return -ENOMEM;
		return 0;
	}
	*out = TAKE_PTR(path);
	return 0;
}

int passthrough_file(const struct passthrough *p, const char *pattern, char **reason)
{
	_cleanup_credentials_ struct credentials who = {};
	_cleanup_close_ int dir = -1, fd = -1;
	_cleanup_free_ char *path = NULL;
	bool as_root = p->values.dump_mode == 2;
	char name[PATH_MAX];
	int r;

	if (p->values.core_limit < CORE_MIN)
		return leave_out(0, reason, "the process' core size limit is %llu",
			(unsigned long long)p->values.core_limit);
	r = core_path(p, pattern, &path);
	if (r < 0)
		return r;
	if (as_root && path[0] != '/')
		return leave_out(0, reason,
			"the core of a process that changed its ids needs an absolute pattern");
	r = credentials_read(p->taskfd, &who);
	if (r == 0)
		r = credentials_take(&who, as_root);
	if (r < 0)
		return leave_out(r, reason, "the process' user cannot be taken: %s", strerror(-r));
	split(path, name, sizeof(name));
	dir = open_directory(p, path, as_root);
	if (dir < 0)
		return leave_out(dir, reason, "the core's directory: %s", strerror(-dir));
	umask(0);
	fd = create_core(dir, name, as_root, as_root ? 0 : who.fsuid, reason);
	if (fd < 0)
		return fd;
	r = passthrough_copy(p->corefd, fd, p->values.core_limit);
	if (r == -EFBIG)
		return 1; /* cut at the limit, as the kernel does */
	return r < 0 ? leave_out(r, reason, "the core was not written to its end: %s", strerror(-r))
		     : 1;
}
