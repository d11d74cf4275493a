/* SPDX-License-Identifier: MIT */
/* What is wrong with a configuration: all of it, in the order of the text, each with its place. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#define PROBLEMS_MAX	 100 /* the rest is counted */
#define PROBLEM_SHOWN	 64  /* bytes of somebody's text in a message */
#define PROBLEM_TEXT_MAX (4 * PROBLEM_SHOWN + 4)

struct config_place {
	unsigned int file;	   /* which of the files of the configuration */
	unsigned int line, column; /* from 1; line 0: the file as a whole */
};

struct config_problem {
	struct config_place at;
	char *message; /* one line, printable */
};

struct config_problems {
	struct config_problem *v;
	size_t n, more;
	int error; /* -ENOMEM: the list is not complete */
};

void problems_free(struct config_problems *p);
#define _cleanup_problems_ __attribute__((cleanup(problems_free)))

/* Notes one. Text that somebody wrote goes through problem_text() first. */
void problem_add(struct config_problems *p, struct config_place at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* TEXT, printable and cut, in BUF, which is returned. */
const char *problem_text(const char *text, char buf[PROBLEM_TEXT_MAX]);

/* "FILE:LINE:COLUMN: message" a line, FILES being the names. */
void problems_print(const struct config_problems *p, char *const *files, FILE *out);
