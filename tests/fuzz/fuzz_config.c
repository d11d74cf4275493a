/* SPDX-License-Identifier: MIT */
/* A file of rules: it is read whole, or refused with a place that is in it and printable lines. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/document.h"
#include "lib/cleanup.h"
#include "lib/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_section(const struct config_section *s, size_t lines)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct config_entry *e = &s->v[i];

		if (e->n == 0 || (!e->list && e->n != 1) || section_find(s, e->key.text) != e)
			abort();
		for (size_t k = 0; k < e->n; k++)
			if (!e->values[k].text || e->values[k].at.line == 0 ||
				e->values[k].at.line > lines)
				abort();
	}
}

static void check_problems(const struct config_problems *problems, size_t lines)
{
	for (size_t i = 0; i < problems->n; i++) {
		const struct config_problem *p = &problems->v[i];

		if (p->at.line > lines || !p->message || !*p->message)
			abort();
		for (const char *s = p->message; *s; s++)
			if ((unsigned char)*s < 0x20 || *s == 0x7f)
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_problems_ struct config_problems problems = {0};
	_cleanup_config_ struct config config = {0};
	int r = config_parse("f", (const char *)data, size, &config, &problems);
	size_t lines = 2; /* the first, and the end behind a last line break */

	for (size_t i = 0; i < size; i++) /* YAML's breaks: \r, \n, NEL, LS, PS */
		lines += data[i] == '\n' || data[i] == '\r' || data[i] == 0x85 || data[i] == 0xa8 ||
			 data[i] == 0xa9;
	if ((r == 0) != (problems.n == 0) || (r == 0 && config.rule_count == 0))
		abort();
	check_problems(&problems, lines);
	check_section(&config.defaults, lines);
	for (size_t i = 0; i < config.rule_count; i++)
		check_section(&config.rules[i].keys, lines);
	return 0;
}
