/* SPDX-License-Identifier: MIT */
#include "cli/run_options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/nearest.h"
#include "lib/cleanup.h"
#include "rules/spec.h"

_Static_assert(CONFIG_RULES_MAX == RULE_SET_MAX, "a file has as many rules as can be armed");

/* Flags of `watch` that mean nothing in a file, or are something else there. */
static const struct {
	const char *key, *why;
} not_here[] = {
	{"pid", "a process id means nothing in a file; name, exe, cmdline, unit … do"},
	{"duration", "the sentinel has no end"},
	{"output", "all rules capture into one store; `store:` at the top says which"},
};

/* One rule that is being made. */
struct maker {
	const struct config *config;
	const struct config_rule *rule;
	struct spec spec;
	struct config_problems *problems;
	bool whole;   /* nothing of the file was left out */
	bool *is_bad; /* one for each of the defaults: it was told already */
};

void run_config_free(struct run_config *c)
{
	for (size_t i = 0; i < c->n; i++)
		rule_free(&c->rules[i]);
	free(c->rules);
	config_free(&c->config);
	*c = (struct run_config){};
}

struct rule_set run_config_rules(const struct run_config *c)
{
	return (struct rule_set){.v = c->rules, .n = c->n};
}

static void unknown_key(struct config_problems *problems, const struct config_text *key)
{
	struct nearest near = nearest_begin(key->text);
	char shown[PROBLEM_TEXT_MAX];
	const struct spec_key *keys;
	size_t n;

	keys = spec_keys(&n);
	for (size_t i = 0; i < n; i++)
		nearest_consider(&near, keys[i].name);
	problem_add(problems, key->at, "a rule has no key '%s'%s%s%s",
		problem_text(key->text, shown), near.best ? "; did you mean " : "",
		near.best ? near.best : "", near.best ? "?" : "");
}

/* The key is known, and takes as many values as there are; else a problem. */
static bool is_sound(struct config_problems *problems, const struct config_entry *e)
{
	const struct spec_key *key = spec_find(e->key.text);

	for (size_t i = 0; i < ARRAY_SIZE(not_here); i++)
		if (strcmp(not_here[i].key, e->key.text) == 0) {
			problem_add(problems, e->key.at, "%s: %s", e->key.text, not_here[i].why);
			return false;
		}
	if (!key) {
		unknown_key(problems, &e->key);
		return false;
	}
	if (e->list && key->form != SPEC_MANY) {
		problem_add(
			problems, e->values[0].at, "%s: takes one value, not a list", e->key.text);
		return false;
	}
	return true;
}

typedef int setter(struct spec *s, const char *name, const char *value, char why[SPEC_WHY_MAX]);

/* 0, -ENOMEM, or -EINVAL: a problem was noted. */
static int set(struct maker *m, const struct config_entry *e, setter *set_one)
{
	char why[SPEC_WHY_MAX];

	if (!is_sound(m->problems, e))
		return -EINVAL;
	for (size_t i = 0; i < e->n; i++) {
		int r = set_one(&m->spec, e->key.text, e->values[i].text, why);

		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			problem_add(m->problems, e->values[i].at, "%s: %s", e->key.text, why);
			return -EINVAL;
		}
	}
	return 0;
}

/* The problem of a key that only shows beside the others stands where the key does. */
static struct config_place place_of(const struct maker *m, const char *key)
{
	const struct config_entry *e = key ? section_find(&m->rule->keys, key) : NULL;

	if (!e && key)
		e = section_find(&m->config->defaults, key);
	return e ? e->key.at : m->rule->name.at;
}

static struct rule initial_rule(const struct config *c, const struct config_rule *named)
{
	return (struct rule){.name = named->name.text,
		.what = {.form = OUTPUT_STORE,
			.output = c->store.text,
			.max_pause_ns = RULE_MAX_PAUSE_NS}};
}

static unsigned int machine_cpus(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus > 0 ? (unsigned int)cpus : 0;
}

static int make_rule(struct maker *m)
{
	const struct config_section *defaults = &m->config->defaults;
	size_t problems = m->problems->n + m->problems->more;
	char why[SPEC_WHY_MAX];
	const char *key = NULL;

	for (size_t i = 0; i < m->rule->keys.n; i++)
		if (set(m, &m->rule->keys.v[i], spec_set) == -ENOMEM)
			return -ENOMEM;
	for (size_t i = 0; i < defaults->n; i++) {
		int r = m->is_bad[i] ? 0 : set(m, &defaults->v[i], spec_default);

		if (r == -ENOMEM)
			return r;
		m->is_bad[i] = m->is_bad[i] || r < 0;
	}
	/* With a key left out, what is said of the others together may be wrong. */
	if (!m->whole || m->problems->n + m->problems->more != problems)
		return 0;
	if (spec_finish(&m->spec, &key, why) < 0)
		problem_add(m->problems, place_of(m, key), "%s%s%s", key ? key : "",
			key ? ": " : "", why);
	if (m->config->observe)
		m->spec.rule->observe = true;
	return 0;
}

static int make_rules(struct run_config *c, bool whole, struct config_problems *problems)
{
	_cleanup_free_ bool *is_bad = calloc(c->config.defaults.n + 1, sizeof(*is_bad));

	c->rules = calloc(c->config.rule_count ? c->config.rule_count : 1, sizeof(*c->rules));
	if (!c->rules || !is_bad)
		return -ENOMEM;
	for (; c->n < c->config.rule_count; c->n++) {
		const struct config_rule *named = &c->config.rules[c->n];
		struct rule *rule = &c->rules[c->n];
		struct maker m = {.config = &c->config,
			.rule = named,
			.spec = {.rule = rule, .dashes = "", .cpus = machine_cpus()},
			.problems = problems,
			.whole = whole,
			.is_bad = is_bad};
		int r;

		*rule = initial_rule(&c->config, named);
		r = make_rule(&m);
		if (r < 0) {
			c->n++;
			return r;
		}
	}
	return 0;
}

int run_load(const char *path, struct run_config *out, FILE *err)
{
	_cleanup_problems_ struct config_problems problems = {};
	_cleanup_run_config_ struct run_config c = {};
	int r = config_load(path, &c.config, &problems);

	if (r == 0 || r == -EINVAL)
		r = make_rules(&c, r == 0, &problems);
	r = r < 0 ? r : problems.error;
	if (r < 0) {
		fprintf(err, "%s: %s\n", path, strerror(-r));
		return r;
	}
	problems_print(&problems, c.config.files, err);
	if (problems.n)
		return -EINVAL;
	*out = c;
	c = (struct run_config){};
	return 0;
}

bool run_default_applies(const struct run_config *c, size_t i, const struct config_entry *e)
{
	const struct config_rule *named = &c->config.rules[i];
	_cleanup_problems_ struct config_problems problems = {};
	_cleanup_(rule_free) struct rule rule = initial_rule(&c->config, named);
	struct maker m = {.config = &c->config,
		.rule = named,
		.spec = {.rule = &rule, .dashes = "", .cpus = machine_cpus()},
		.problems = &problems};
	char why[SPEC_WHY_MAX];
	const char *key = NULL;

	if (section_find(&named->keys, e->key.text))
		return false;
	/* As if the rule itself said so: what does not go with it is refused by name then. */
	for (size_t k = 0; k < named->keys.n; k++)
		set(&m, &named->keys.v[k], spec_set);
	set(&m, e, spec_set);
	return spec_finish(&m.spec, &key, why) == 0 || !key || strcmp(key, e->key.text) != 0;
}
