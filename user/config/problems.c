/* SPDX-License-Identifier: MIT */
#include "config/problems.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

void problems_free(struct config_problems *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].message);
	free(p->v);
	*p = (struct config_problems){};
}

static bool is_before(const struct config_place *a, const struct config_place *b)
{
	if (a->file != b->file)
		return a->file < b->file;
	if (a->line != b->line)
		return a->line < b->line;
	return a->column < b->column;
}

void problem_add(struct config_problems *p, struct config_place at, const char *format, ...)
{
	char *message;
	va_list args;
	size_t i;
	int r;

	if (p->n == PROBLEMS_MAX) {
		p->more++;
		return;
	}
	if (!p->v)
		p->v = calloc(PROBLEMS_MAX, sizeof(*p->v));
	va_start(args, format);
	r = vasprintf(&message, format, args);
	va_end(args);
	if (r < 0 || !p->v) {
		if (r >= 0)
			free(message);
		p->error = -ENOMEM;
		return;
	}
	for (i = p->n++; i > 0 && is_before(&at, &p->v[i - 1].at); i--)
		p->v[i] = p->v[i - 1];
	p->v[i] = (struct config_problem){at, message};
}

const char *problem_text(const char *text, char buf[PROBLEM_TEXT_MAX])
{
	_cleanup_free_ char *shown = text_printable(text, strlen(text), PROBLEM_SHOWN);

	snprintf(buf, PROBLEM_TEXT_MAX, "%s", shown ? shown : "?");
	return buf;
}

void problems_print(const struct config_problems *p, char *const *files, FILE *out)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct config_problem *problem = &p->v[i];
		const char *file = files[problem->at.file];
		_cleanup_free_ char *shown = text_printable(file, strlen(file), PATH_MAX);

		fputs(shown ? shown : "?", out);
		if (problem->at.line)
			fprintf(out, ":%u:%u", problem->at.line, problem->at.column);
		fprintf(out, ": %s\n", problem->message);
	}
	if (p->more)
		fprintf(out, "%zu more problems are not shown\n", p->more);
}
