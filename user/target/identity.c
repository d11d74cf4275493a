/* SPDX-License-Identifier: MIT */
#include "target/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "target/stat.h"

#define FILE_MAX_SIZE (64 * 1024)

static char *read_executable(int procfd)
{
	static const char deleted[] = " (deleted)";
	char path[PATH_MAX];
	ssize_t n = readlinkat(procfd, "exe", path, sizeof(path) - 1);

	if (n <= 0)
		return NULL;
	path[n] = '\0';
	if ((size_t)n > sizeof(deleted) - 1 &&
		strcmp(path + n - (sizeof(deleted) - 1), deleted) == 0)
		path[n - (ssize_t)(sizeof(deleted) - 1)] = '\0';
	return strdup(path);
}

/* A line "Key:\tvalue…" of status; NULL if there is none. */
static const char *status_field(const char *status, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = status; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

static void read_status(int procfd, struct identity *id)
{
	_cleanup_free_ char *status = NULL;
	const char *field;

	if (io_read_file_at(procfd, "status", FILE_MAX_SIZE, &status, NULL) < 0)
		return;
	field = status_field(status, "Uid"); /* real, effective … */
	if (field)
		sscanf(field, "%*u %u", &id->uid);
	field = status_field(status, "Gid");
	if (field)
		sscanf(field, "%*u %u", &id->gid);
	/* The process' id in each PID namespace it is in, the innermost last. */
	field = status_field(status, "NStgid");
	for (char *end; field && *field != '\n'; field = end) {
		long pid = strtol(field, &end, 10);

		if (end == field)
			break;
		id->ns_pid = (pid_t)pid;
	}
}

/* The cgroup2 path ("0::/…"), or where that is the root, a v1 controller's that says more. */
static char *read_cgroup(int procfd)
{
	_cleanup_free_ char *text = NULL;
	const char *best = NULL;
	size_t best_len = 0;

	if (io_read_file_at(procfd, "cgroup", FILE_MAX_SIZE, &text, NULL) < 0)
		return NULL;
	for (char *line = text; *line; line += strcspn(line, "\n") + 1) {
		size_t len = strcspn(line, "\n");
		char *path = memchr(line, ':', len);

		path = path ? memchr(path + 1, ':', len - (size_t)(path + 1 - line)) : NULL;
		if (path) {
			size_t path_len = len - (size_t)(++path - line);

			if (!best || (best_len <= 1 && path_len > 1) ||
				(strncmp(line, "0:", 2) == 0 && path_len > 1)) {
				best = path;
				best_len = path_len;
			}
		}
		if (!line[len])
			break;
	}
	return best ? strndup(best, best_len) : NULL;
}

void identity_container_id(const char *cgroup, char out[65])
{
	/* docker-<64 hex>.scope, cri-containerd-<64 hex>.scope, /docker/<64 hex>, libpod-<64 hex> …
	 */
	out[0] = '\0';
	for (const char *s = cgroup; *s;) {
		size_t n = 0;

		while (isxdigit((unsigned char)s[n]) && !isupper((unsigned char)s[n]))
			n++;
		if (n == 64) {
			memcpy(out, s, 64);
			out[64] = '\0'; /* the last one counts: a container within a container */
		}
		s += n ? n : 1;
	}
}

/* Arguments longer than is kept: the head is what a person reads. */
static void read_arguments_head(int procfd, struct identity *id)
{
	_cleanup_close_ int fd = openat(procfd, "cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	id->arguments = malloc(IDENTITY_ARGUMENTS_MAX + 1);
	n = id->arguments && fd >= 0 ? io_read_upto(fd, id->arguments, IDENTITY_ARGUMENTS_MAX) : -1;
	id->arguments_size = n > 0 ? (size_t)n : 0;
	if (id->arguments)
		id->arguments[id->arguments_size] = '\0';
}

static void read_image(int procfd, struct identity *id)
{
	id->executable = read_executable(procfd);
	if (io_read_file_at(procfd, "cmdline", IDENTITY_ARGUMENTS_MAX, &id->arguments,
		    &id->arguments_size) == -E2BIG)
		read_arguments_head(procfd, id);
}

/* A leader that has ended took its memory and its cgroup along; the other threads still have them.
 */
static void read_image_of_threads(int procfd, struct identity *id)
{
	const struct process p = {.pidfd = -1, .procfd = procfd};
	_cleanup_close_ int taskfd = process_open_live_task(&p, NULL);

	if (taskfd < 0)
		return;
	free(TAKE_PTR(id->arguments));
	id->arguments_size = 0;
	read_image(taskfd, id);
	if (!id->cgroup)
		id->cgroup = read_cgroup(taskfd);
}

int identity_read(int procfd, struct identity *out)
{
	struct identity id = {};
	struct stat_line stat;
	int r = stat_read(procfd, &stat);

	if (r < 0)
		return r;
	id.ppid = stat.ppid;
	id.start_ticks = stat.start_ticks;
	memcpy(id.comm, stat.comm, sizeof(id.comm));
	read_status(procfd, &id);
	read_image(procfd, &id);
	id.cgroup = read_cgroup(procfd);
	if (!id.executable && stat.threads > 0)
		read_image_of_threads(procfd, &id);
	if (id.cgroup)
		identity_container_id(id.cgroup, id.container_id);
	*out = id;
	return 0;
}

void identity_free(struct identity *id)
{
	free(id->executable);
	free(id->arguments);
	free(id->cgroup);
	*id = (struct identity){};
}
