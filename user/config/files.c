/* SPDX-License-Identifier: MIT */
#include "config/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

void config_files_free(struct config_files *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].name);
		free(f->v[i].text);
	}
	free(f->v);
	*f = (struct config_files){};
}

const char *config_distrust(const struct stat *st, uid_t reader)
{
	/* In a sticky directory only a file's owner can replace it, and the file is judged too. */
	bool sticky = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX);

	if (reader != 0)
		return NULL;
	if (st->st_uid != 0)
		return "does not belong to root, who runs this";
	if ((st->st_mode & S_IWOTH) && !sticky)
		return "can be written by everybody";
	if ((st->st_mode & S_IWGRP) && st->st_gid != 0 && !sticky)
		return "can be written by its group";
	return NULL;
}

static int add_file(struct config_files *files, char *name)
{
	struct config_file *larger;

	if (!name)
		return -ENOMEM;
	larger = reallocarray(files->v, files->n + 1, sizeof(*files->v));
	if (!larger) {
		free(name);
		return -ENOMEM;
	}
	files->v = larger;
	files->v[files->n++] = (struct config_file){.name = name};
	return 0;
}

static struct config_place whole_file(const struct config_files *files)
{
	return (struct config_place){.file = (unsigned int)files->n - 1};
}

/* Reads all of FD into the last of FILES; a file that grows meanwhile is cut at the bound, and
 * refused. */
static int read_text(int fd, struct config_files *files, struct config_problems *problems)
{
	struct config_file *file = &files->v[files->n - 1];
	_cleanup_free_ char *text = malloc(CONFIG_FILE_MAX + 1);
	ssize_t n;

	if (!text)
		return -ENOMEM;
	n = io_read_upto(fd, text, CONFIG_FILE_MAX + 1);
	if (n < 0) {
		problem_add(problems, whole_file(files), "cannot be read: %s", strerror((int)-n));
		return 0;
	}
	if (n > CONFIG_FILE_MAX) {
		problem_add(problems, whole_file(files), "is larger than %d KiB",
			CONFIG_FILE_MAX / 1024);
		return 0;
	}
	file->text = TAKE_PTR(text);
	file->len = (size_t)n;
	return 0;
}

/* The last of FILES, which is BASE below DIRFD. O_NONBLOCK: a FIFO must not hold up the start. */
static int read_file(
	int dirfd, const char *base, struct config_files *files, struct config_problems *problems)
{
	_cleanup_close_ int fd = openat(dirfd, base, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct config_place at = whole_file(files);
	const char *distrust;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		problem_add(problems, at, "cannot be read: %s", strerror(errno));
		return 0;
	}
	if (!S_ISREG(st.st_mode)) {
		problem_add(problems, at, "is not a file");
		return 0;
	}
	distrust = config_distrust(&st, geteuid());
	if (distrust) {
		problem_add(problems, at, "is refused: it %s", distrust);
		return 0;
	}
	return read_text(fd, files, problems);
}

static bool is_trusted_directory(
	int fd, const char *name, struct config_place at, struct config_problems *problems)
{
	char shown[PROBLEM_TEXT_MAX];
	const char *distrust;
	struct stat st;

	if (fstat(fd, &st) < 0) {
		problem_add(problems, at, "cannot be read: %s", strerror(errno));
		return false;
	}
	distrust = config_distrust(&st, geteuid());
	if (distrust)
		problem_add(problems, at, "is refused: its directory %s %s",
			problem_text(name, shown), distrust);
	return !distrust;
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

static int is_wanted(const struct dirent *entry)
{
	return entry->d_name[0] != '.' &&
	       (ends_in(entry->d_name, ".yaml") || ends_in(entry->d_name, ".yml"));
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_drop_in(int dirfd, const char *directory, const char *base,
	struct config_files *files, struct config_problems *problems)
{
	char *name = NULL;
	int r;

	if (asprintf(&name, "%s/%s", directory, base) < 0)
		return -ENOMEM;
	r = add_file(files, name);
	if (r < 0)
		return r;
	if (ends_in(base, ".yml")) { /* in silence it would be a rule that never trips */
		problem_add(problems, whole_file(files), "is not read: only *.yaml is");
		return 0;
	}
	return read_file(dirfd, base, files, problems);
}

static int read_drop_ins(int parent, const char *directory, struct config_files *files,
	struct config_problems *problems)
{
	_cleanup_close_ int fd = openat(parent, "conf.d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct config_place at = {};
	struct dirent **names = NULL;
	int n, r = 0;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		problem_add(problems, at, "conf.d beside it cannot be read: %s", strerror(errno));
		return 0;
	}
	if (!is_trusted_directory(fd, directory, at, problems))
		return 0;
	n = scandirat(fd, ".", &names, is_wanted, by_bytes);
	if (n < 0)
		return -errno;
	if (n >= CONFIG_FILES_MAX)
		problem_add(problems, at, "conf.d beside it has %d files, more than %d", n,
			CONFIG_FILES_MAX - 1);
	for (int i = 0; i < n; i++) {
		if (r == 0 && n < CONFIG_FILES_MAX)
			r = read_drop_in(fd, directory, names[i]->d_name, files, problems);
		free(names[i]);
	}
	free(names);
	return r;
}

int config_files_read(const char *path, struct config_files *out, struct config_problems *problems)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	_cleanup_free_ char *parent = slash ? strndup(path, (size_t)(base - path)) : strdup("./");
	_cleanup_free_ char *directory = NULL;
	_cleanup_close_ int dirfd = -1;
	int r = add_file(out, strdup(path));

	if (r < 0)
		return r;
	if (!parent || asprintf(&directory, "%sconf.d", slash ? parent : "") < 0)
		return -ENOMEM;
	dirfd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0) {
		problem_add(problems, whole_file(out), "cannot be read: %s", strerror(errno));
		return 0;
	}
	if (!is_trusted_directory(dirfd, parent, whole_file(out), problems))
		return 0;
	r = read_file(dirfd, base, out, problems);
	return r < 0 ? r : read_drop_ins(dirfd, directory, out, problems);
}
