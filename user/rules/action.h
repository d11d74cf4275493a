/* SPDX-License-Identifier: MIT */
/* What is done to a process once it is captured: --then of the command line, and `before: exec` of
 * the YAML. Pure: parsed here, run by cli/actions.h. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum action_kind {
	ACTION_KILL,	/* SIGKILL */
	ACTION_TERM,	/* SIGTERM, and SIGKILL if it still lives after a time */
	ACTION_SIGNAL,	/* any signal */
	ACTION_RESTART, /* of a systemd unit */
	ACTION_EXEC,	/* a program */
};

struct action {
	enum action_kind kind;
	int signal;	  /* ACTION_SIGNAL */
	uint64_t time_ns; /* ACTION_TERM */
	char *unit;	  /* ACTION_RESTART: a valid name with its type: "nginx.service" */
	char **argv;	  /* ACTION_EXEC: an absolute path and arguments, NULL at the end */
	char *text;	  /* as it was written, for events */
};

struct actions {
	struct action *v; /* run in this order */
	size_t n;
};

#define ACTION_WHY_MAX 192

/* "kill", "term" …, as written. */
const char *action_kind_name(enum action_kind kind);

/* Parses kill | term:TIME | signal:NAME | restart:UNIT | exec:CMD. CMD is taken apart at blanks,
 * with quotes as in a shell ('…' verbatim; "…" with \" and \\ in it; \ in front of any character
 * outside) and nothing else of a shell: no variables, globs or pipes. 0, -ENOMEM, or -EINVAL with
 * one line in WHY that says what is wrong (the text of the user in it is made printable). *OUT is
 * untouched on failure; action_free() it. */
int action_parse(const char *text, struct action *out, char why[ACTION_WHY_MAX]);
void action_free(struct action *a);

/* Appends one; as action_parse(). */
int actions_add(struct actions *list, const char *text, char why[ACTION_WHY_MAX]);
void actions_free(struct actions *list);
#define _cleanup_actions_ __attribute__((cleanup(actions_free)))
