/* SPDX-License-Identifier: MIT */
#include "rules/breach.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/clock.h"
#include "rules/slide.h"
#include "target/usage.h"

#define CPU_KINDS	    (1u << CONDITION_CPU | 1u << CONDITION_CPU_BELOW)
#define DEFAULT_INTERVAL_NS NSEC_PER_SEC
#define GAP_INTERVALS	    4
#define GAP_LEAST_NS	    (500 * NSEC_PER_MSEC) /* what a busy machine makes of 50 ms */
#define GUESS_PART	    50 /* a guess within an interval may be wrong by this part of it */
#define RISE_PART	    20 /* less of a step in the interval before is noise */
#define LATE_PART	    20 /* a timer may be late by this part of an interval */

/* One condition over time. */
struct hold {
	bool known, past; /* at the last measure */
	uint64_t value;	  /* at the last measure, if KNOWN */
	bool known_prior; /* at the one before */
	uint64_t prior;
	uint64_t begin_ns; /* PAST: since when, in a row */
	bool edge;	   /* the first interval that is past, CPU; from BEFORE to VALUE */
	uint64_t before, edge_ns;
};

struct breach {
	const struct rule *rule;
	uint64_t interval_ns;
	bool seen; /* LAST is there */
	struct measure last;
	struct hold holds[CONDITION_KINDS];
	struct slide_least least;		   /* MEMORY_GROWTH */
	struct slide_spans spans[CONDITION_KINDS]; /* window_ns; all_of: the first alone */
	struct breach_reading reading;
};

void breach_free(struct breach *b)
{
	if (!b)
		return;
	slide_least_free(&b->least);
	for (size_t k = 0; k < CONDITION_KINDS; k++)
		slide_spans_free(&b->spans[k]);
	free(b);
}

static uint64_t late_ns(const struct breach *b)
{
	return b->interval_ns / LATE_PART;
}

static bool is_armed(const struct breach *b, size_t kind)
{
	return b->rule->armed & 1u << kind;
}

static int allocate(struct breach *b)
{
	const struct rule *rule = b->rule;
	int r = 0;

	if (is_armed(b, CONDITION_MEMORY_GROWTH))
		r = slide_least_init(&b->least,
			rule->conditions[CONDITION_MEMORY_GROWTH].within_ns + late_ns(b),
			b->interval_ns);
	for (size_t k = 0; r == 0 && rule->window_ns && k < CONDITION_KINDS; k++)
		if (rule->all_of ? k == 0 : is_armed(b, k))
			r = slide_spans_init(&b->spans[k], rule->window_ns, b->interval_ns);
	return r;
}

int breach_new(const struct rule *rule, struct breach **out)
{
	struct breach *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->rule = rule;
	b->interval_ns = rule->interval_ns ? rule->interval_ns : DEFAULT_INTERVAL_NS;
	b->reading.needed_ns = rule->for_ns;
	r = allocate(b);
	if (r < 0) {
		breach_free(b);
		return r;
	}
	*out = b;
	return 0;
}

static void forget_spans(struct breach *b)
{
	for (size_t k = 0; k < CONDITION_KINDS; k++)
		slide_spans_clear(&b->spans[k]);
}

void breach_restart(struct breach *b)
{
	b->seen = false;
	for (size_t k = 0; k < CONDITION_KINDS; k++)
		b->holds[k] = (struct hold){};
	slide_least_clear(&b->least);
	forget_spans(b);
	b->reading = (struct breach_reading){.needed_ns = b->rule->for_ns};
}

const struct breach_reading *breach_last(const struct breach *b)
{
	return &b->reading;
}

static bool read_growth(struct breach *b, const struct measure *m, uint64_t *out)
{
	uint64_t now, least;

	if (!condition_memory(m, b->rule->memory_base, &now))
		return false;
	slide_least_add(&b->least, m->sample.time_ns, now);
	if (!b->seen || !slide_least_get(&b->least, &least))
		return false;
	*out = now - least;
	return true;
}

static bool read_memory(const struct breach *b, size_t kind, const struct measure *m, uint64_t *out)
{
	return condition_memory(m, b->rule->memory_base, out) &&
	       (!b->rule->conditions[kind].percent || condition_memory_share(m, *out, out));
}

static bool read_value(struct breach *b, size_t kind, const struct measure *m, uint64_t *out)
{
	switch ((enum condition_kind)kind) {
	case CONDITION_CPU:
	case CONDITION_CPU_BELOW:
		return b->seen && condition_cpu(&b->last, m, b->rule->cpu_base, out);
	case CONDITION_MEMORY:
	case CONDITION_MEMORY_BELOW:
		return read_memory(b, kind, m, out);
	case CONDITION_MEMORY_GROWTH:
		return read_growth(b, m, out);
	case CONDITION_THREADS:
		*out = m->sample.threads;
		return true;
	case CONDITION_FDS:
		*out = m->fds;
		return m->fds != USAGE_UNKNOWN;
	default:
		return false;
	}
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* The first interval past the limit, now that the next one shows what the step was to: it was that
 * high for a part of it only, if it lies between the interval before and that after. That is a
 * guess from times that a tick has rounded: it must not make the condition hold earlier than it
 * did. */
static void settle_edge(const struct breach *b, struct hold *h, uint64_t value)
{
	uint64_t step = distance(value, h->before), part = distance(h->value, h->before), held;
	const uint64_t margin = late_ns(b) + b->interval_ns / GUESS_PART;

	h->edge = false;
	held = h->edge_ns - h->begin_ns;
	if (part < step)
		held = (uint64_t)((unsigned __int128)held * part / step);
	h->begin_ns = h->edge_ns - (held > margin ? held - margin : 0);
}

/* The step to VALUE lies within the interval that has just ended, unless a good part of it shows in
 * the one before: then it lies there, and this one is whole. */
static bool is_edge(const struct hold *h, uint64_t value)
{
	return h->known && (!h->known_prior || distance(h->value, h->prior) * RISE_PART <
						       distance(value, h->prior));
}

static void advance(struct breach *b, size_t kind, uint64_t now_ns, bool known, uint64_t value)
{
	struct hold *h = &b->holds[kind];
	bool cpu = CPU_KINDS & 1u << kind;
	bool past = known && condition_is_past(kind, &b->rule->conditions[kind], value);

	if (past && !h->past) {
		h->begin_ns = cpu ? b->last.sample.time_ns : now_ns;
		h->edge = cpu && is_edge(h, value);
		h->before = h->value;
		h->edge_ns = now_ns;
	} else if (past && h->edge) {
		settle_edge(b, h, value);
	} else if (!past) {
		h->edge = false;
	}
	h->known_prior = h->known;
	h->prior = h->value;
	h->known = known;
	h->past = past;
	h->value = value;
}

/* How long the condition has held; with all_of, how long all of those have that are armed. */
static uint64_t held_since(const struct breach *b, size_t kind)
{
	uint64_t since = b->holds[kind].begin_ns;

	for (size_t k = 0; b->rule->all_of && k < CONDITION_KINDS; k++)
		if (is_armed(b, k) && b->holds[k].begin_ns > since)
			since = b->holds[k].begin_ns;
	return since;
}

/* What of the interval that ends now was held goes into the window. */
static uint64_t held_in_window(struct breach *b, size_t kind, bool met, uint64_t now_ns)
{
	struct slide_spans *spans = &b->spans[b->rule->all_of ? 0 : kind];
	uint64_t since = met ? held_since(b, kind) : now_ns;

	if (b->seen && since < b->last.sample.time_ns)
		since = b->last.sample.time_ns;
	if (since < now_ns)
		slide_spans_add(spans, since, now_ns);
	return slide_spans_held(spans, now_ns);
}

static void judge(struct breach *b, uint64_t now_ns, struct breach_reading *out)
{
	const struct rule *rule = b->rule;

	for (size_t k = 0; k < CONDITION_KINDS; k++) {
		bool met = rule->all_of ? out->met == rule->armed : out->met & 1u << k;
		uint64_t held = met ? now_ns - held_since(b, k) : 0;

		if (!is_armed(b, k))
			continue;
		if (rule->window_ns)
			held = held_in_window(b, k, met, now_ns);
		if (held > out->held_ns)
			out->held_ns = held;
		if (met && out->phase == BREACH_ARMED)
			out->phase = BREACH_BREACHING;
		if (met && held + late_ns(b) >= rule->for_ns)
			out->tripped |= 1u << k;
	}
	if (out->tripped)
		out->phase = BREACH_TRIPPED;
}

/* Begins anew with this measure: what was past its limit goes on from here. */
static void begin_anew(struct breach *b, const struct measure *m)
{
	uint64_t memory;

	for (size_t k = 0; k < CONDITION_KINDS; k++) {
		b->holds[k].begin_ns = m->sample.time_ns;
		b->holds[k].edge = false;
	}
	forget_spans(b);
	if (!is_armed(b, CONDITION_MEMORY_GROWTH))
		return;
	slide_least_clear(&b->least);
	if (condition_memory(m, b->rule->memory_base, &memory))
		slide_least_add(&b->least, m->sample.time_ns, memory);
}

static bool follows(const struct breach *b, const struct sample *s)
{
	const struct sample *last = &b->last.sample;
	uint64_t gap = GAP_INTERVALS * b->interval_ns;

	return s->pid == last->pid && s->start_ticks == last->start_ticks &&
	       s->time_ns > last->time_ns &&
	       s->time_ns - last->time_ns <= (gap > GAP_LEAST_NS ? gap : GAP_LEAST_NS);
}

void breach_feed(struct breach *b, const struct measure *m, struct breach_reading *out)
{
	struct breach_reading now = {.time_ns = m->sample.time_ns, .needed_ns = b->rule->for_ns};

	if (b->seen && m->sample.time_ns == b->last.sample.time_ns) { /* the same once more */
		*out = b->reading;
		out->phase = out->met ? BREACH_BREACHING : BREACH_ARMED;
		out->tripped = 0;
		return;
	}
	if (b->seen && !follows(b, &m->sample))
		breach_restart(b);
	for (size_t k = 0; k < CONDITION_KINDS; k++) {
		if (!is_armed(b, k))
			continue;
		if (read_value(b, k, m, &now.value[k]))
			now.known |= 1u << k;
		else
			now.value[k] = 0;
		advance(b, k, m->sample.time_ns, now.known & 1u << k, now.value[k]);
		if (b->holds[k].past)
			now.met |= 1u << k;
	}
	judge(b, m->sample.time_ns, &now);
	if (now.phase == BREACH_TRIPPED)
		begin_anew(b, m);
	b->last = *m;
	b->seen = true;
	b->reading = now;
	*out = now;
}
