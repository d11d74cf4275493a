/* SPDX-License-Identifier: MIT */
/* WHO of the command line: which processes a rule watches. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "target/process.h"

enum who_kind {
	WHO_NAME, /* comm, base name of the executable, or of the script or jar that an interpreter
		     runs */
	WHO_EXE,  /* path of the executable */
	WHO_CMDLINE,   /* arguments, joined by blanks */
	WHO_CGROUP,    /* cgroup path, or any of its components */
	WHO_UNIT,      /* systemd unit: a component of the cgroup path */
	WHO_CONTAINER, /* prefix of the container's id (12 digits or more), or a glob on the
			  cgroup's components */
	WHO_KINDS,
};

struct who_list {
	char **v;
	size_t n;
};

/* Adds a copy of PATTERN; 0 or -ENOMEM. */
int who_list_add(struct who_list *list, const char *pattern);
void who_list_free(struct who_list *list);

/* Different kinds narrow, the same one repeated widens. */
struct who {
	bool all;
	bool tree;		   /* also what descends from a match */
	struct process *processes; /* --pid, held */
	size_t process_count;
	uid_t *users; /* --user, effective ids */
	size_t user_count;
	struct who_list globs[WHO_KINDS];
};

void who_free(struct who *w);

/* Each adds one alternative: 0, -ENOMEM, or what process_open() and the user database say (-ESRCH,
 * -ENOENT). */
int who_add_process(struct who *w, pid_t pid);
int who_add_user(struct who *w, const char *name_or_id);
int who_add_glob(struct who *w, enum who_kind kind, const char *pattern);

/* Some GLOB was asked for. */
bool who_has_globs(const struct who *w);
/* Nothing was asked for. */
bool who_is_empty(const struct who *w);
/* Only --pid: no process but those can ever match. */
bool who_is_pids_only(const struct who *w);
/* A process that does not match now may do so later without an exec (its user or cgroup changes).
 */
bool who_is_changeable(const struct who *w);

/* Whether the process with this identity matches; of --pid, id->pid and its start time. */
bool who_matches(const struct who *w, const struct identity *id);
