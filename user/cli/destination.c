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
	struct stat st;
	int r = new_file_open(path, &o->file);

	if (r == 0 && !o->replace &&
		fstatat(o->file.dirfd, o->file.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		r = -EEXIST;
	if (r == 0)
		r = new_file_begin(&o->file); /* to know now that it can be written */
	if (r < 0)
		return fail(path, r, strerror(-r));
	new_file_discard(&o->file);
	return 0;
}

int destination_open(const struct capture_options *what, struct destination *out)
{
	struct destination o = DESTINATION_NONE;
	int r = 0;

	o.path = what->output;
	o.form = what->form;
	o.replace = what->replace;
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

int destination_borrow(const struct destination *o, struct destination *out)
{
	_cleanup_close_ int dirfd = -1;
	char *name;

	*out = *o;
	out->file = NEW_FILE_NONE;
	if (o->form != OUTPUT_FILE)
		return 0;
	dirfd = fcntl(o->file.dirfd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (dirfd < 0)
		return -errno;
	name = strdup(o->file.name);
	if (!name)
		return -ENOMEM;
	out->file.dirfd = TAKE_FD(dirfd);
	out->file.name = name;
	return 0;
}

void destination_give_back(struct destination *o)
{
	new_file_close(&o->file);
}

void destination_close(struct destination *o)
{
	if (o->store.dirfd >= 0)
		store_recover(&o->store);
	store_close(&o->store);
	new_file_close(&o->file);
}

struct capture_options destination_options(
	const struct destination *o, const struct capture_options *what)
{
	struct capture_options options = *what;

	if (o->form == OUTPUT_STORE)
		options.output = o->store.path;
	return options;
}

int destination_begin(struct destination *o)
{
	int r;

	switch (o->form) {
	case OUTPUT_STORE:
		return o->store.dirfd;
	case OUTPUT_STDOUT:
		return STDOUT_FILENO;
	case OUTPUT_FILE:
		break;
	}
	r = new_file_begin(&o->file);
	return r < 0 ? r : o->file.fd;
}

int destination_end(struct destination *o, bool written, json_t *capture)
{
	int r;

	if (o->form != OUTPUT_FILE)
		return 0;
	if (!written) {
		new_file_discard(&o->file);
		return 0;
	}
	r = new_file_commit(&o->file, o->replace);
	return r == 0 && capture ? json_put_text(capture, "path", o->path) : r;
}
