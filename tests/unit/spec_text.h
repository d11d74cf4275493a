/* SPDX-License-Identifier: MIT */
/* What the tests of spec share: a rule made of "key=value key …". */
#pragma once

#include <stdio.h>
#include <string.h>

#include "rules/spec.h"

struct parsed {
	struct rule rule;
	struct spec spec;
	int result;
	char name[32]; /* the key that is wrong, "" for none */
	char why[SPEC_WHY_MAX];
};

static inline void begin(struct parsed *p)
{
	memset(p, 0, sizeof(*p));
	p->rule = (struct rule){.name = "test", .count = 1, .what.max_pause_ns = RULE_MAX_PAUSE_NS};
	p->spec = (struct spec){.rule = &p->rule, .dashes = "--", .cpus = 4};
}

static inline void set(struct parsed *p, const char *name, const char *value)
{
	if (p->result < 0)
		return;
	p->result = spec_set(&p->spec, name, value, p->why);
	if (p->result < 0)
		snprintf(p->name, sizeof(p->name), "%s", name);
}

static inline void finish(struct parsed *p)
{
	const char *name = NULL;

	if (p->result < 0)
		return;
	p->rule.what.form = !p->rule.what.output		    ? OUTPUT_STORE
			    : strcmp(p->rule.what.output, "-") == 0 ? OUTPUT_STDOUT
			    : strchr(p->rule.what.output, '/')	    ? OUTPUT_STORE
								    : OUTPUT_FILE;
	p->result = spec_finish(&p->spec, &name, p->why);
	snprintf(p->name, sizeof(p->name), "%s", p->result < 0 && name ? name : "");
}

static inline void end(struct parsed *p)
{
	rule_free(&p->rule);
}

/* "key=value key …": no blanks in values; TEXT must last as long as P. */
static inline void set_all(struct parsed *p, char *text)
{
	char *word;

	while ((word = strsep(&text, " ")) != NULL) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		set(p, word, value);
	}
}

static inline void parse(struct parsed *p, const char *text, char storage[static 512])
{
	snprintf(storage, 512, "%s", text);
	begin(p);
	set_all(p, storage);
	finish(p);
}
