/* SPDX-License-Identifier: MIT */
#include "cli/config_show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "rules/spec.h"
#include "store/store.h"

/* One value as text, several as a list. */
static json_t *values_of(const struct config_entry *e)
{
	_cleanup_json_ json_t *list = json_array();

	if (e->n == 1)
		return json_string(e->values[0].text);
	for (size_t i = 0; i < e->n; i++)
		if (json_array_append_new(list, json_string(e->values[i].text)) < 0)
			return NULL;
	return TAKE_PTR(list);
}

/* Those of the keys that are in PICKED, in the order of the documentation. 0 or -ENOMEM. */
static int put_keys(json_t *obj, const struct config_entry *const *picked, size_t count)
{
	const struct spec_key *keys;
	size_t n;

	keys = spec_keys(&n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < count; k++)
			if (strcmp(picked[k]->key.text, keys[i].name) == 0 &&
				json_put(obj, keys[i].name, values_of(picked[k])) < 0)
				return -ENOMEM;
	return 0;
}

/* Rule I's own keys, and with DEFAULTS those that apply to it. */
static int put_rule(json_t *obj, const struct run_config *c, size_t i, bool defaults)
{
	const struct config_section *own = &c->config.rules[i].keys, *others = &c->config.defaults;
	_cleanup_free_ const struct config_entry **picked =
		calloc(own->n + others->n + 1, sizeof(struct config_entry *));
	size_t n = 0;

	if (!picked)
		return -ENOMEM;
	for (size_t k = 0; k < own->n; k++)
		picked[n++] = &own->v[k];
	for (size_t k = 0; k < others->n && defaults; k++)
		if (run_default_applies(c, i, &others->v[k]))
			picked[n++] = &others->v[k];
	return put_keys(obj, picked, n);
}

static json_t *defaults_of(const struct config_section *defaults)
{
	_cleanup_free_ const struct config_entry **picked =
		calloc(defaults->n + 1, sizeof(struct config_entry *));
	_cleanup_json_ json_t *obj = json_object();

	for (size_t k = 0; k < defaults->n && picked; k++)
		picked[k] = &defaults->v[k];
	return picked && put_keys(obj, picked, defaults->n) == 0 ? TAKE_PTR(obj) : NULL;
}

static json_t *limits_of(const struct host_limits *limits)
{
	_cleanup_json_ json_t *obj = json_object();
	char text[HOST_LIMIT_TEXT_MAX];
	const char *name;

	for (size_t i = 0; (name = host_limits_name(i)) != NULL; i++) {
		char *comma;
		json_t *value;

		host_limits_format(limits, i, text);
		comma = strstr(text, ", ");
		if (comma)
			*comma = '\0';
		value = comma ? json_pack("[ss]", text, comma + 2) : json_string(text);
		if (json_put(obj, name, value) < 0)
			return NULL;
	}
	return TAKE_PTR(obj);
}

static json_t *rules_of(const struct run_config *c, bool effective)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; i < c->n; i++) {
		json_t *rule = json_object();

		/* Appended first: the list owns it from then on. */
		if (json_array_append_new(list, rule) < 0 ||
			json_put(rule, "rule", json_string(c->rules[i].name)) < 0 ||
			put_rule(rule, c, i, effective) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

json_t *config_show(const struct run_config *c, bool effective)
{
	const struct config *config = &c->config;
	const char *store = config->store.text ? config->store.text : STORE_DEFAULT_PATH;
	_cleanup_json_ json_t *obj = json_object();

	if (json_put(obj, "mode", json_string(config->observe ? "observe" : "capture")) < 0 ||
		json_put(obj, "store", json_string(store)) < 0 ||
		json_put(obj, "limits", limits_of(&config->limits)) < 0)
		return NULL;
	if (!effective && config->defaults.n &&
		json_put(obj, "defaults", defaults_of(&config->defaults)) < 0)
		return NULL;
	if (json_put(obj, "rules", rules_of(c, effective)) < 0)
		return NULL;
	return TAKE_PTR(obj);
}

/* Emits what an initializer made of EVENT; 1 is libyaml's success. */
static int emit(yaml_emitter_t *emitter, yaml_event_t *event, int initialized)
{
	return initialized ? yaml_emitter_emit(emitter, event) : 0;
}

static int emit_text(yaml_emitter_t *emitter, const char *text)
{
	yaml_scalar_style_t style = YAML_ANY_SCALAR_STYLE;
	yaml_event_t event;

	/* Plain, these would be no value at all, and a text that is broken into lines is for
	 * people. */
	if (strcmp(text, "") == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)
		style = YAML_SINGLE_QUOTED_SCALAR_STYLE;
	else if (strchr(text, '\n'))
		style = YAML_LITERAL_SCALAR_STYLE;
	return emit(emitter, &event,
		yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
			(int)strlen(text), 1, 1, style));
}

static int emit_value(yaml_emitter_t *emitter, const json_t *value);

static int emit_list(yaml_emitter_t *emitter, const json_t *list)
{
	bool texts = json_is_string(json_array_get(list, 0));
	yaml_event_t event;
	const json_t *item;
	size_t i;
	int ok = emit(emitter, &event,
		yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
			texts ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE));

	json_array_foreach (list, i, item)
		ok = ok && emit_value(emitter, item);
	return ok && emit(emitter, &event, yaml_sequence_end_event_initialize(&event));
}

static int emit_map(yaml_emitter_t *emitter, const json_t *map)
{
	yaml_event_t event;
	const char *key;
	json_t *value;
	int ok = emit(emitter, &event,
		yaml_mapping_start_event_initialize(
			&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));

	json_object_foreach ((json_t *)map, key, value)
		ok = ok && emit_text(emitter, key) && emit_value(emitter, value);
	return ok && emit(emitter, &event, yaml_mapping_end_event_initialize(&event));
}

static int emit_value(yaml_emitter_t *emitter, const json_t *value)
{
	if (json_is_string(value))
		return emit_text(emitter, json_string_value(value));
	return json_is_array(value) ? emit_list(emitter, value) : emit_map(emitter, value);
}

int config_show_yaml(const json_t *shown, FILE *out)
{
	_cleanup_(yaml_emitter_delete) yaml_emitter_t emitter;
	yaml_event_t event;
	int ok;

	if (!yaml_emitter_initialize(&emitter))
		return -ENOMEM;
	yaml_emitter_set_output_file(&emitter, out);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, -1);
	ok = emit(&emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	ok = ok && emit(&emitter, &event,
			   yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	ok = ok && emit_map(&emitter, shown);
	ok = ok && emit(&emitter, &event, yaml_document_end_event_initialize(&event, 1));
	ok = ok && emit(&emitter, &event, yaml_stream_end_event_initialize(&event));
	if (ok)
		return 0;
	return emitter.error == YAML_WRITER_ERROR ? -EIO : -ENOMEM;
}
