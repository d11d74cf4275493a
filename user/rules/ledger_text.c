/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "rules/ledger_book.h"

#define VERSION	      1
#define NAME_TEXT_MAX (4 * LEDGER_NAME_MAX) /* bytes that are no UTF-8 are written as \xNN */
#define TIME_MAX      (INT64_MAX / 4)	    /* sums of two of them do not overflow */

/* ---- to text ---- */

static json_t *rule_json(const struct ledger_rule *rule)
{
	_cleanup_json_ json_t *o = json_object();
	json_t *starts = json_array();
	int r;

	if (!o || json_put(o, "starts_ns", starts) < 0)
		return NULL;
	r = json_put_text(o, "name", rule->name);
	r |= json_put_int(o, "started", (int64_t)rule->started);
	r |= json_put_int(o, "active_ns", rule->active_ns);
	r |= rule->since_ns != LEDGER_NEVER ? json_put_int(o, "since_ns", rule->since_ns) : 0;
	for (size_t i = 0; i < rule->start_count; i++)
		r |= json_array_append_new(starts, json_integer(rule->starts[i]));
	return r ? NULL : json_incref(o);
}

static json_t *capture_json(const struct ledger_capture *c)
{
	_cleanup_json_ json_t *o = json_object();
	int r;

	if (!o)
		return NULL;
	r = json_put_int(o, "time_ns", c->time_ns);
	r |= json_put_text(o, "rule", c->rule);
	r |= json_put_int(o, "pid", c->pid);
	r |= json_put_int(o, "start_ticks", (int64_t)c->start_ticks);
	r |= json_put_text(o, "signature", c->signature);
	r |= json_put_int(o, "repeats", (int64_t)c->repeats);
	r |= json_put_bool(o, "failed", c->failed);
	return r ? NULL : json_incref(o);
}

int ledger_save(
	const struct ledger *l, const struct clock_pair *now, const char *boot_id, char **text)
{
	_cleanup_json_ json_t *o = json_object();
	json_t *rules = json_array(), *captures = json_array();
	int r;

	*text = NULL;
	/* Each of the two is taken, whatever becomes of it. */
	r = json_put(o, "rules", rules);
	r |= json_put(o, "captures", captures);
	if (r)
		return -ENOMEM;
	r = json_put_int(o, "version", VERSION);
	r |= json_put_text(o, "boot_id", boot_id);
	r |= json_put_int(o, "boot_ns", (int64_t)now->boot_ns);
	r |= json_put_int(o, "real_ns", (int64_t)now->real_ns);
	for (size_t i = 0; i < l->rule_count; i++)
		r |= json_array_append_new(rules, rule_json(&l->rules[i]));
	for (size_t i = 0; i < l->capture_count; i++)
		r |= json_array_append_new(captures, capture_json(&l->captures[i]));
	if (r == 0)
		*text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
	return *text ? 0 : -ENOMEM;
}

/* ---- from text ---- */

struct reading {
	int64_t saved_ns; /* CLOCK_BOOTTIME of its boot, when it was saved */
	int64_t shift_ns; /* to times of this boot */
	bool same_boot;
};

static bool get_count(const json_t *o, const char *key, uint64_t most, uint64_t *out)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		(uint64_t)json_integer_value(v) > most)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

static bool get_time(const struct reading *reading, const json_t *v, int64_t *out)
{
	int64_t t = json_integer_value(v);

	if (!json_is_integer(v) || t > reading->saved_ns || t < -TIME_MAX)
		return false;
	*out = t + reading->shift_ns;
	/* What is older than can be said is as old as can be said. */
	if (*out < -TIME_MAX)
		*out = -TIME_MAX;
	return true;
}

static const char *get_name(const json_t *o, const char *key, size_t most)
{
	const json_t *v = json_object_get(o, key);

	return json_is_string(v) && json_string_length(v) <= most ? json_string_value(v) : NULL;
}

static int load_rule(struct ledger *l, const struct reading *reading, const json_t *o)
{
	const char *name = get_name(o, "name", NAME_TEXT_MAX);
	const json_t *starts = json_object_get(o, "starts_ns"), *since, *v;
	struct ledger_rule *rule;
	int64_t active, time;
	size_t i;

	if (!name || !json_is_array(starts) || json_array_size(starts) > LEDGER_STARTS_MAX ||
		l->rule_count == LEDGER_RULES_MAX ||
		!get_time(reading, json_object_get(o, "active_ns"), &active))
		return -EBADMSG;
	rule = ledger_book_rule(l, name, active);
	if (!rule)
		return -ENOMEM;
	since = json_object_get(o, "since_ns");
	if (!get_count(o, "started", INT64_MAX, &rule->started) ||
		(since && !get_time(reading, since, &rule->since_ns)))
		return -EBADMSG;
	json_array_foreach (starts, i, v) {
		if (!get_time(reading, v, &time))
			return -EBADMSG;
		if (ledger_book_start(rule, LEDGER_STARTS_MAX, time) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int load_capture(struct ledger *l, const struct reading *reading, const json_t *o)
{
	const char *rule = get_name(o, "rule", NAME_TEXT_MAX);
	const char *signature = get_name(o, "signature", SIGNATURE_MAX);
	struct ledger_capture *c;
	uint64_t pid;

	if (l->capture_count == LEDGER_CAPTURES_MAX)
		return -EBADMSG;
	c = ledger_book_capture(l);
	if (!c)
		return -ENOMEM;
	if (!rule || !signature || !get_time(reading, json_object_get(o, "time_ns"), &c->time_ns) ||
		!get_count(o, "pid", INT32_MAX, &pid) ||
		!get_count(o, "start_ticks", INT64_MAX, &c->start_ticks) ||
		!get_count(o, "repeats", INT64_MAX, &c->repeats) ||
		!json_is_boolean(json_object_get(o, "failed")))
		return -EBADMSG;
	/* Services get the same ids at the same time of every boot. */
	c->pid = reading->same_boot ? (pid_t)pid : 0;
	c->failed = json_is_true(json_object_get(o, "failed"));
	snprintf(c->rule, sizeof(c->rule), "%s", rule);
	snprintf(c->signature, sizeof(c->signature), "%s", signature);
	return 0;
}

static int read_clocks(
	const json_t *o, const struct clock_pair *now, const char *boot_id, struct reading *out)
{
	const char *saved_id = get_name(o, "boot_id", 64);
	uint64_t version, boot, real, passed;

	if (!saved_id || !get_count(o, "version", VERSION, &version) || version != VERSION ||
		!get_count(o, "boot_ns", TIME_MAX, &boot) ||
		!get_count(o, "real_ns", TIME_MAX, &real))
		return -EBADMSG;
	out->saved_ns = (int64_t)boot;
	out->same_boot = strcmp(saved_id, boot_id) == 0 && now->boot_ns >= boot;
	passed = now->real_ns > real ? now->real_ns - real : 0;
	if (passed > TIME_MAX)
		passed = TIME_MAX;
	out->shift_ns =
		out->same_boot ? 0 : (int64_t)now->boot_ns - (int64_t)boot - (int64_t)passed;
	return 0;
}

static int load(struct ledger *l, const struct reading *reading, const json_t *o)
{
	const json_t *rules = json_object_get(o, "rules"),
		     *captures = json_object_get(o, "captures");
	int r = json_is_array(rules) && json_is_array(captures) ? 0 : -EBADMSG;

	for (size_t i = 0; r == 0 && i < json_array_size(rules); i++)
		r = load_rule(l, reading, json_array_get(rules, i));
	for (size_t i = 0; r == 0 && i < json_array_size(captures); i++)
		r = load_capture(l, reading, json_array_get(captures, i));
	return r;
}

int ledger_load(struct ledger *l, const char *text, size_t size, const struct clock_pair *now,
	const char *boot_id)
{
	_cleanup_json_ json_t *o = NULL;
	struct reading reading;
	struct ledger *fresh, empty;
	int r;

	if (size > LEDGER_TEXT_MAX)
		return -EFBIG;
	o = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	if (!o)
		return -EBADMSG;
	r = read_clocks(o, now, boot_id, &reading);
	if (r < 0)
		return r;
	r = ledger_new(&l->limits, &fresh);
	if (r < 0)
		return r;
	r = load(fresh, &reading, o);
	if (r == 0) {
		empty = *l;
		*l = *fresh;
		*fresh = empty;
	}
	ledger_free(fresh);
	return r;
}
