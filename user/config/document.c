/* SPDX-License-Identifier: MIT */
#include "config/document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/files.h"
#include "config/nearest.h"
#include "config/nodes.h"
#include "lib/cleanup.h"
#include "lib/text.h"

void config_free(struct config *c)
{
	for (size_t i = 0; i < c->file_count; i++)
		free(c->files[i]);
	free(c->files);
	free(c->mode.text);
	free(c->store.text);
	section_free(&c->defaults);
	for (size_t i = 0; i < c->rule_count; i++) {
		free(c->rules[i].name.text);
		section_free(&c->rules[i].keys);
	}
	free(c->rules);
	*c = (struct config){};
}

static int take_mode(const struct section_reader *r, const struct node *node, struct config *c)
{
	bool observe = node->kind == NODE_TEXT && strcmp(node->text, "observe") == 0;

	if (!observe && (node->kind != NODE_TEXT || strcmp(node->text, "capture") != 0)) {
		problem_add(r->problems, section_place(r, node), "mode: is capture or observe");
		return 0;
	}
	c->observe = observe;
	return section_copy(r, node, &c->mode);
}

static int take_store(const struct section_reader *r, const struct node *node, struct config *c)
{
	if (node->kind != NODE_TEXT || node->text[0] != '/') {
		problem_add(r->problems, section_place(r, node),
			"store: must be the absolute path of a directory");
		return 0;
	}
	return section_copy(r, node, &c->store);
}

static void set_limit(
	const struct section_reader *r, const struct config_entry *entry, struct host_limits *out)
{
	const char *values[2] = {
		entry->values[0].text, entry->n > 1 ? entry->values[1].text : NULL};
	struct nearest near = nearest_begin(entry->key.text);
	char shown[PROBLEM_TEXT_MAX];
	const char *why, *name;

	for (size_t i = 0; (name = host_limits_name(i)) != NULL; i++) {
		nearest_consider(&near, name);
		if (strcmp(name, entry->key.text) != 0)
			continue;
		if (entry->n > (host_limits_is_amount(i) ? 2 : 1))
			problem_add(r->problems, entry->values[0].at, "%s: too many values (%zu)",
				name, entry->n);
		else if (host_limits_set(out, i, values, entry->n, &why) < 0)
			problem_add(r->problems, entry->values[0].at, "%s: %s, not '%s'", name, why,
				problem_text(entry->values[0].text, shown));
		return;
	}
	problem_add(r->problems, entry->key.at, "limits: there is no limit '%s'%s%s%s",
		problem_text(entry->key.text, shown), near.best ? "; did you mean " : "",
		near.best ? near.best : "", near.best ? "?" : "");
}

static int take_limits(const struct section_reader *r, const struct node *node, struct config *c)
{
	_cleanup_section_ struct config_section limits = {};
	int e = section_take_all(r, node, "limits", &limits);

	for (size_t i = 0; i < limits.n && e == 0; i++)
		set_limit(r, &limits.v[i], &c->limits);
	return e;
}

static int take_defaults(const struct section_reader *r, const struct node *node, struct config *c)
{
	return section_take_all(r, node, "defaults", &c->defaults);
}

/* What can be told apart in a log, a metric and a message. */
static bool is_sound_name(
	const struct section_reader *r, const struct node *node, const struct config *c)
{
	struct config_place at = section_place(r, node);
	size_t length = strlen(node->text);
	_cleanup_free_ char *printable = text_printable(node->text, length, length);
	char shown[PROBLEM_TEXT_MAX];

	if (length == 0 || length > CONFIG_RULE_NAME_MAX) {
		problem_add(r->problems, at, "rule: a name has 1 to %d bytes, not %zu",
			CONFIG_RULE_NAME_MAX, length);
		return false;
	}
	if (!printable || strcmp(printable, node->text) != 0 || node->text[0] == ' ' ||
		node->text[length - 1] == ' ') {
		problem_add(r->problems, at,
			"rule: '%s' is not printable, or begins or ends with a blank",
			problem_text(node->text, shown));
		return false;
	}
	for (size_t i = 0; i < c->rule_count; i++) {
		const struct config_text *other = &c->rules[i].name;

		if (strcmp(other->text, node->text) != 0)
			continue;
		problem_add(r->problems, at, "rule: '%s' is there already, %s:%u", node->text,
			problem_text(c->files[other->at.file], shown), other->at.line);
		return false;
	}
	return true;
}

static const struct node *find_value(const struct node *map, const char *key)
{
	for (size_t i = 0; i < map->n; i += 2)
		if (map->items[i]->kind == NODE_TEXT && strcmp(map->items[i]->text, key) == 0)
			return map->items[i + 1];
	return NULL;
}

static const struct node *find_name(
	const struct section_reader *r, const struct node *map, const struct config *c)
{
	const struct node *name = find_value(map, "rule");

	if (!name || section_is_nothing(name)) {
		problem_add(r->problems, section_place(r, map), "a rule needs a name, rule: NAME%s",
			find_value(map, "name") ? " (`name:` is that of the processes it watches)"
						: "");
		return NULL;
	}
	if (name->kind != NODE_TEXT) {
		problem_add(r->problems, section_place(r, name), "rule: takes a text");
		return NULL;
	}
	return is_sound_name(r, name, c) ? name : NULL;
}

/* A rule without a sound name is looked through all the same, for the problems of its keys. */
static int take_rule(const struct section_reader *r, const struct node *node, struct config *c)
{
	_cleanup_section_ struct config_section keys = {};
	struct config_text name = {};
	const struct node *named;
	int e = 0;

	if (!section_is_map(r, node, "a rule"))
		return 0;
	named = find_name(r, node, c);
	for (size_t i = 0; i < node->n && e == 0; i += 2) {
		const struct node *key = node->items[i];

		if (key->kind != NODE_TEXT || strcmp(key->text, "rule") != 0)
			e = section_take(r, node, i, &keys);
		else
			section_is_key(r, node, i);
	}
	if (e < 0 || !named)
		return e;
	e = section_copy(r, named, &name);
	if (e < 0)
		return e;
	c->rules[c->rule_count++] = (struct config_rule){name, keys};
	keys = (struct config_section){};
	return 0;
}

static int take_rules(const struct section_reader *r, const struct node *node, struct config *c)
{
	struct config_rule *larger;
	int e = 0;

	if (section_is_nothing(node))
		return 0;
	if (node->kind != NODE_LIST) {
		problem_add(r->problems, section_place(r, node),
			"rules: must be a list (- rule: NAME)");
		return 0;
	}
	if (c->rule_count + node->n > CONFIG_RULES_MAX) {
		problem_add(r->problems, section_place(r, node), "rules: more than %d",
			CONFIG_RULES_MAX);
		return 0;
	}
	if (node->n == 0)
		return 0;
	larger = reallocarray(c->rules, c->rule_count + node->n, sizeof(*c->rules));
	if (!larger)
		return -ENOMEM;
	c->rules = larger;
	for (size_t i = 0; i < node->n && e == 0; i++)
		e = take_rule(r, node->items[i], c);
	return e;
}

static const struct {
	const char *key;
	int (*take)(const struct section_reader *r, const struct node *node, struct config *c);
} parts[] = {
	{"mode", take_mode},
	{"store", take_store},
	{"limits", take_limits},
	{"defaults", take_defaults},
	{"rules", take_rules},
};

static int take_part(
	const struct section_reader *r, const struct node *root, size_t i, struct config *c)
{
	const char *key = root->items[i]->text;
	struct nearest near = nearest_begin(key);
	char shown[PROBLEM_TEXT_MAX];

	for (size_t k = 0; k < ARRAY_SIZE(parts); k++) {
		if (strcmp(parts[k].key, key) == 0)
			return parts[k].take(r, root->items[i + 1], c);
		nearest_consider(&near, parts[k].key);
	}
	if (near.best)
		problem_add(r->problems, section_place(r, root->items[i]),
			"there is no key '%s' here; did you mean %s?", problem_text(key, shown),
			near.best);
	else
		problem_add(r->problems, section_place(r, root->items[i]),
			"there is no key '%s' here, only mode, store, limits, defaults and rules",
			problem_text(key, shown));
	return 0;
}

/* Text of the last of C's files. */
static int take_text(
	const char *text, size_t len, struct config *c, struct config_problems *problems)
{
	struct section_reader r = {problems, (unsigned int)c->file_count - 1};
	_cleanup_nodes_ struct nodes nodes = {};
	struct nodes_error error = {};
	int e = nodes_parse(text, len, &nodes, &error);

	if (e == -EINVAL) {
		problem_add(problems, (struct config_place){r.file, error.line, error.column}, "%s",
			error.why);
		return 0;
	}
	if (e < 0 || !nodes.root || section_is_nothing(nodes.root))
		return e;
	if (!section_is_map(&r, nodes.root, "the file"))
		return 0;
	for (size_t i = 0; i < nodes.root->n && e == 0; i += 2)
		if (section_is_key(&r, nodes.root, i))
			e = take_part(&r, nodes.root, i, c);
	return e;
}

static int add_name(struct config *c, const char *name)
{
	char **larger = reallocarray(c->files, c->file_count + 1, sizeof(*c->files));

	if (!larger)
		return -ENOMEM;
	c->files = larger;
	larger[c->file_count] = strdup(name);
	return larger[c->file_count++] ? 0 : -ENOMEM;
}

static int outcome(const struct config *c, struct config_problems *problems)
{
	if (problems->n == 0 && c->rule_count == 0)
		problem_add(problems, (struct config_place){},
			"has no rules: nothing would be watched");
	if (problems->error)
		return problems->error;
	return problems->n ? -EINVAL : 0;
}

int config_load(const char *path, struct config *out, struct config_problems *problems)
{
	_cleanup_config_files_ struct config_files files = {};
	int e = config_files_read(path, &files, problems);

	out->limits = host_limits_default;
	for (size_t i = 0; i < files.n && e == 0; i++) {
		e = add_name(out, files.v[i].name);
		if (e == 0 && files.v[i].text)
			e = take_text(files.v[i].text, files.v[i].len, out, problems);
	}
	return e < 0 ? e : outcome(out, problems);
}

int config_parse(const char *name, const char *text, size_t len, struct config *out,
	struct config_problems *problems)
{
	int e = add_name(out, name);

	out->limits = host_limits_default;
	if (e == 0)
		e = take_text(text, len, out, problems);
	return e < 0 ? e : outcome(out, problems);
}
