/* SPDX-License-Identifier: MIT */
#include "cli/destination.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/log.h"

enum output_form destination_form(const char *path)
{
	struct stat st;

	if (path && strcmp(path, "-") == 0)
		return OUTPUT_STDOUT;
	if (!path || path[strlen(path) - 1] == '/' || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return OUTPUT_STORE;
	return OUTPUT_FILE;
}

static int fail(const char *path, int error, const char *text)
{
	log_error("event=arm what=output path=\"%s\" error=\"%s\"",
		path ? path : STORE_DEFAULT_PATH, text);
	return error;
}

static int open_store(const char *path, struct destination *o)
{
	int r = store_open(path, true, &o->store);

	if (r == 0)
		r = store_check_space(&o->store, 0, 0);
	if (r < 0)
		return fail(path, r, store_strerror(r));
	r = store_recover(&o->store);
	if (r > 0)
		log_info("event=recover removed=%d", r);
	return 0;
}

static int open_file(const char *path, struct destination *o)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *directory =
		!slash ? strdup(".") : strndup(path, (size_t)(slash - path + 1));
	struct stat st;
	int r;

	o->name = strdup(slash ? slash + 1 : path);
	if (!directory || !o->name)
		return -ENOMEM;
	o->dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->dirfd < 0)
		return fail(path, -errno, strerror(errno));
	if (fstatat(o->dirfd, o->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return fail(path, -EEXIST, strerror(EEXIST));
	r = destination_begin(o); /* to know now that it can be written */
	if (r < 0)
		return fail(path, r, strerror(-r));
	return destination_end(o, false, NULL);
}

int destination_open(const struct capture_options *what, struct destination *out)
{
	struct destination o = DESTINATION_NONE;
	int r = 0;

	o.path = what->output;
	o.form = what->form;
	if (o.form == OUTPUT_STORE)
		r = open_store(what->output, &o);
	else if (o.form == OUTPUT_FILE)
		r = open_file(what->output, &o);
	else if (isatty(STDOUT_FILENO))
		r = fail("-", -EINVAL, "a core is not for a terminal");
	if (r < 0)
		destination_close(&o);
	else
		*out = o;
	return r;
}

void destination_close(struct destination *o)
{
	store_close(&o->store);
	cleanup_close(&o->dirfd);
	cleanup_close(&o->filefd);
	free(TAKE_PTR(o->name));
}

int destination_begin(struct destination *o)
{
	switch (o->form) {
	case OUTPUT_STORE:
		return o->store.dirfd;
	case OUTPUT_STDOUT:
		return STDOUT_FILENO;
	case OUTPUT_FILE:
		break;
	}
	cleanup_close(&o->filefd);
	o->filefd = openat(o->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return o->filefd >= 0 ? o->filefd : -errno;
}

int destination_end(struct destination *o, bool written, json_t *capture)
{
	_cleanup_close_ int fd = TAKE_FD(o->filefd);
	char path[32];

	if (o->form != OUTPUT_FILE || !written)
		return 0;
	if (fsync(fd) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, o->dirfd, o->name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return capture ? json_put_text(capture, "path", o->path) : 0;
}
