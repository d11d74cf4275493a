/* SPDX-License-Identifier: MIT */
#include "sink/threshold.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/text.h"
#include "rules/trip.h"

#define OTHERS_LEAST 100 /* thousandths of a percent: less is the looks' own blur */

/* ---- made ---- */

static const char *const cpu_bases[] = {
	[CPU_BASE_CORE] = "core", [CPU_BASE_MACHINE] = "machine", [CPU_BASE_QUOTA] = "quota"};
static const char *const memory_bases[] = {
	[MEMORY_BASE_ANONYMOUS] = "anonymous", [MEMORY_BASE_RSS] = "rss"};

/* Bytes of a count can be more than JSON's integers here hold. */
static int put_count(json_t *o, const char *key, uint64_t v)
{
	return json_put_int(o, key, v < INT64_MAX ? (int64_t)v : INT64_MAX);
}

static int put_percent(json_t *o, const char *key, uint64_t thousandths)
{
	return json_put(o, key, json_real((double)thousandths / 1000));
}

static int put_cpu(json_t *o, const struct rule *rule, size_t kind, uint64_t value)
{
	int r = put_percent(o, "value", value);

	r |= put_percent(o, "limit", rule->conditions[kind].limit);
	r |= json_put_text(o, "base", cpu_bases[rule->cpu_base]);
	return r;
}

static int put_memory(
	json_t *o, const struct rule *rule, size_t kind, uint64_t value, const struct measure *m)
{
	const struct condition *c = &rule->conditions[kind];
	uint64_t bytes;
	int r = json_put_text(o, "base", memory_bases[rule->memory_base]);

	if (condition_memory(m, rule->memory_base, &bytes))
		r |= put_count(o, "value", bytes);
	if (kind == CONDITION_MEMORY_GROWTH) {
		r |= put_count(o, "growth", value);
		r |= put_count(o, "growth_limit", c->limit);
		r |= put_count(o, "within_ms", c->within_ns / NSEC_PER_MSEC);
	} else if (c->percent) {
		r |= put_percent(o, "percent", value);
		r |= put_percent(o, "limit_percent", c->limit);
	} else {
		r |= put_count(o, "limit", c->limit);
	}
	return r;
}

static int put_condition(json_t *o, const struct rule *rule, size_t kind,
	const struct breach_reading *reading, const struct measure *m)
{
	uint64_t value = reading->value[kind];
	int r = 0;

	switch (trip_kind_of((enum condition_kind)kind)) {
	case TRIP_CPU:
		r = put_cpu(o, rule, kind, value);
		break;
	case TRIP_MEMORY:
		r = put_memory(o, rule, kind, value, m);
		break;
	default:
		r = put_count(o, "value", value);
		r |= put_count(o, "limit", rule->conditions[kind].limit);
		break;
	}
	if (kind == CONDITION_CPU_BELOW || kind == CONDITION_MEMORY_BELOW)
		r |= json_put_bool(o, "below", 1);
	r |= put_count(o, "held_ms", reading->held_ns / NSEC_PER_MSEC);
	if (rule->window_ns)
		r |= put_count(o, "window_ms", rule->window_ns / NSEC_PER_MSEC);
	return r;
}

int threshold_put(json_t *trigger, const struct rule *rule, const struct breach_reading *reading,
	const struct measure *m)
{
	const char *first = NULL;
	int r = 0;

	for (size_t k = 0; r == 0 && k < CONDITION_KINDS; k++) {
		const char *name = trip_kind_name(trip_kind_of((enum condition_kind)k));

		if (!(reading->tripped & 1u << k))
			continue;
		first = first ? first : name;
		/* Two conditions on memory stand in one object. */
		if (!json_object_get(trigger, name))
			r = json_put(trigger, name, json_object());
		if (r == 0)
			r = put_condition(json_object_get(trigger, name), rule, k, reading, m);
	}
	if (!first)
		return -EINVAL;
	return r || json_put_text(trigger, "kind", first) ? -ENOMEM : 0;
}

static json_t *share_json(const struct share *s)
{
	_cleanup_json_ json_t *o = json_object();
	int r = 0;

	if (!o)
		return NULL;
	r |= json_put_int(o, "tid", s->tid);
	r |= json_put_text_n(o, "comm", s->comm, strnlen(s->comm, sizeof(s->comm)));
	r |= put_percent(o, "share", s->share);
	r |= put_percent(o, "cpu_percent", s->cpu);
	return r ? NULL : json_incref(o);
}

int threshold_put_shares(json_t *trigger, const struct shares *shares)
{
	json_t *cpu = json_object_get(trigger, "cpu"), *threads;
	int r;

	if (!cpu)
		return 0;
	threads = json_array();
	r = json_put(cpu, "threads", threads);
	for (size_t i = 0; r == 0 && i < shares->n; i++)
		r = json_array_append_new(threads, share_json(&shares->top[i]));
	r |= put_count(cpu, "threads_ms", shares->window_ns / NSEC_PER_MSEC);
	if (shares->more)
		r |= put_count(cpu, "more_threads", shares->more);
	if (shares->rest >= OTHERS_LEAST)
		r |= put_percent(cpu, "other_share", shares->rest);
	return r ? -ENOMEM : 0;
}

/* ---- told ---- */

static double number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static const char *below(const json_t *o)
{
	return json_is_true(json_object_get(o, "below")) ? "below " : "";
}

static void print_cpu(FILE *out, const json_t *o)
{
	static const struct {
		const char *base, *text;
	} bases[] = {
		{"core", "of a core"}, {"machine", "of the machine"}, {"quota", "of its quota"}};
	const char *base = json_get_text(o, "base", "");

	fprintf(out, "cpu %.1f %%", number(o, "value"));
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++)
		if (strcmp(base, bases[i].base) == 0)
			fprintf(out, " %s", bases[i].text);
}

static const char *size_text(const json_t *o, const char *key, char *buf, size_t size)
{
	return text_format_size((uint64_t)json_get_int(o, key, 0), buf, size);
}

static void print_memory(FILE *out, const json_t *o)
{
	char buf[32];

	fprintf(out, "memory %s", size_text(o, "value", buf, sizeof(buf)));
	if (strcmp(json_get_text(o, "base", ""), "rss") == 0)
		fputs(" resident", out);
	if (json_object_get(o, "percent"))
		fprintf(out, ", %.1f %% of what it may have", number(o, "percent"));
	if (json_object_get(o, "growth"))
		fprintf(out, ", grown by %s", size_text(o, "growth", buf, sizeof(buf)));
	if (json_object_get(o, "within_ms"))
		fprintf(out, " in %g s", number(o, "within_ms") / 1000);
}

static void print_held(FILE *out, const json_t *o)
{
	double seconds = number(o, "held_ms") / 1000;

	if (seconds > 0)
		fprintf(out, " for %.1f s", seconds);
	if (seconds > 0 && json_object_get(o, "window_ms"))
		fprintf(out, " of %g s", number(o, "window_ms") / 1000);
}

static void print_limit(FILE *out, const json_t *o, const char *kind)
{
	char buf[32];

	if (strcmp(kind, "memory") != 0)
		fprintf(out, " (limit %s%.8g%s)", below(o), number(o, "limit"),
			strcmp(kind, "cpu") == 0 ? " %" : "");
	else if (json_object_get(o, "limit_percent"))
		fprintf(out, " (limit %s%.8g %%)", below(o), number(o, "limit_percent"));
	else
		fprintf(out, " (limit %s%s)", below(o),
			size_text(o, json_object_get(o, "limit") ? "limit" : "growth_limit", buf,
				sizeof(buf)));
}

bool threshold_print(FILE *out, const json_t *trigger)
{
	static const struct {
		const char *kind, *noun;
	} kinds[] = {
		{"cpu", NULL}, {"memory", NULL}, {"threads", "threads"}, {"fds", "descriptors"}};
	const char *between = "";

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *o = json_object_get(trigger, kinds[i].kind);

		if (!o)
			continue;
		fputs(between, out);
		if (kinds[i].noun)
			fprintf(out, "%lld %s", (long long)json_get_int(o, "value", 0),
				kinds[i].noun);
		else if (i == 0)
			print_cpu(out, o);
		else
			print_memory(out, o);
		print_held(out, o);
		print_limit(out, o, kinds[i].kind);
		between = ", ";
	}
	return *between;
}
