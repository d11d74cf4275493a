/* SPDX-License-Identifier: MIT */
#include "config/section.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

static void entry_free(struct config_entry *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->values[i].text);
	free(e->values);
	free(e->key.text);
	*e = (struct config_entry){};
}

void section_free(struct config_section *s)
{
	for (size_t i = 0; i < s->n; i++)
		entry_free(&s->v[i]);
	free(s->v);
	*s = (struct config_section){};
}

const struct config_entry *section_find(const struct config_section *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].key.text, key) == 0)
			return &s->v[i];
	return NULL;
}

struct config_place section_place(const struct section_reader *r, const struct node *node)
{
	return (struct config_place){r->file, node->line, node->column};
}

int section_copy(const struct section_reader *r, const struct node *node, struct config_text *out)
{
	char *text = strdup(node->text);

	if (!text)
		return -ENOMEM;
	free(out->text);
	*out = (struct config_text){text, section_place(r, node)};
	return 0;
}

bool section_is_nothing(const struct node *node)
{
	return node->kind == NODE_TEXT && node->plain &&
	       (strcmp(node->text, "") == 0 || strcmp(node->text, "~") == 0 ||
		       strcmp(node->text, "null") == 0);
}

bool section_is_map(const struct section_reader *r, const struct node *node, const char *what)
{
	if (node->kind != NODE_MAP) {
		problem_add(
			r->problems, section_place(r, node), "%s must be a map (key: value)", what);
		return false;
	}
	if (node->n / 2 > CONFIG_KEYS_MAX) {
		problem_add(r->problems, section_place(r, node), "%s: %zu keys, more than %d", what,
			node->n / 2, CONFIG_KEYS_MAX);
		return false;
	}
	return true;
}

bool section_is_key(const struct section_reader *r, const struct node *map, size_t i)
{
	const struct node *key = map->items[i];
	char shown[PROBLEM_TEXT_MAX];

	if (key->kind != NODE_TEXT) {
		problem_add(r->problems, section_place(r, key), "a key must be a text");
		return false;
	}
	if (key->plain && strcmp(key->text, "<<") == 0) {
		problem_add(r->problems, section_place(r, key),
			"merge keys (<<) are not known here; `defaults` apply to every rule");
		return false;
	}
	for (size_t k = 0; k < i; k += 2) {
		if (map->items[k]->kind != NODE_TEXT || strcmp(map->items[k]->text, key->text) != 0)
			continue;
		problem_add(r->problems, section_place(r, key), "%s: is there already, in line %u",
			problem_text(key->text, shown), map->items[k]->line);
		return false;
	}
	return true;
}

/* `- exec: CMD` in a list of actions is the text "exec:CMD". 0, -ENOMEM or -EINVAL. */
static int take_action(
	const struct section_reader *r, const struct node *map, struct config_text *out)
{
	const struct node *key = map->n ? map->items[0] : NULL,
			  *value = map->n ? map->items[1] : NULL;

	if (map->n != 2 || key->kind != NODE_TEXT || value->kind != NODE_TEXT ||
		section_is_nothing(value)) {
		problem_add(r->problems, section_place(r, map),
			"an action is a text, or one `key: value`");
		return -EINVAL;
	}
	if (asprintf(&out->text, "%s:%s", key->text, value->text) < 0) {
		out->text = NULL;
		return -ENOMEM;
	}
	out->at = section_place(r, key);
	return 0;
}

static bool has_actions(const struct config_entry *e)
{
	return strcmp(e->key.text, "then") == 0 || strcmp(e->key.text, "before") == 0;
}

static int take_value(const struct section_reader *r, const struct config_entry *entry,
	const struct node *node, struct config_text *out)
{
	char shown[PROBLEM_TEXT_MAX];
	const char *key = problem_text(entry->key.text, shown);

	if (section_is_nothing(node)) {
		problem_add(r->problems, section_place(r, node), "%s: has no value", key);
		return -EINVAL;
	}
	if (node->kind == NODE_TEXT)
		return section_copy(r, node, out);
	if (node->kind == NODE_MAP && entry->list && has_actions(entry))
		return take_action(r, node, out);
	problem_add(r->problems, section_place(r, node),
		"%s: takes a text or a list of texts, not %s", key,
		node->kind == NODE_MAP ? "a map" : "a list in a list");
	return -EINVAL;
}

/* 0, -ENOMEM, or -EINVAL: a problem was noted. */
static int take_values(
	const struct section_reader *r, struct node *node, struct config_entry *entry)
{
	struct node **items = node->kind == NODE_LIST ? node->items : &node;
	size_t n = node->kind == NODE_LIST ? node->n : 1;
	char shown[PROBLEM_TEXT_MAX];

	entry->list = node->kind == NODE_LIST;
	if (n == 0 || n > CONFIG_VALUES_MAX) {
		problem_add(r->problems, section_place(r, node),
			"%s: a list of %zu values, not of 1 to %d",
			problem_text(entry->key.text, shown), n, CONFIG_VALUES_MAX);
		return -EINVAL;
	}
	entry->values = calloc(n, sizeof(*entry->values));
	if (!entry->values)
		return -ENOMEM;
	for (; entry->n < n; entry->n++) {
		int e = take_value(r, entry, items[entry->n], &entry->values[entry->n]);

		if (e < 0)
			return e;
	}
	return 0;
}

/* Moves ENTRY into the section; what the section had under that key is in ENTRY then. */
static int put_entry(struct config_section *s, struct config_entry *entry)
{
	struct config_entry *larger;

	for (size_t i = 0; i < s->n; i++) {
		struct config_entry old = s->v[i];

		if (strcmp(old.key.text, entry->key.text) != 0)
			continue;
		s->v[i] = *entry;
		*entry = old;
		return 0;
	}
	larger = reallocarray(s->v, s->n + 1, sizeof(*s->v));
	if (!larger)
		return -ENOMEM;
	s->v = larger;
	s->v[s->n++] = *entry;
	*entry = (struct config_entry){};
	return 0;
}

int section_take(const struct section_reader *r, const struct node *map, size_t i,
	struct config_section *out)
{
	_cleanup_(entry_free) struct config_entry entry = {};
	int e;

	if (!section_is_key(r, map, i))
		return 0;
	e = section_copy(r, map->items[i], &entry.key);
	if (e == 0)
		e = take_values(r, map->items[i + 1], &entry);
	if (e == 0)
		e = put_entry(out, &entry);
	return e == -EINVAL ? 0 : e;
}

int section_take_all(const struct section_reader *r, const struct node *node, const char *what,
	struct config_section *out)
{
	int e = 0;

	if (section_is_nothing(node) || !section_is_map(r, node, what))
		return 0;
	for (size_t i = 0; i < node->n && e == 0; i += 2)
		e = section_take(r, node, i, out);
	return e;
}
