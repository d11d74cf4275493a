/* SPDX-License-Identifier: MIT */
#include "rules/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules/ledger_book.h"

int ledger_new(const struct ledger_limits *limits, struct ledger **out)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	ledger_set_limits(l, limits);
	*out = l;
	return 0;
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->rule_count; i++)
		free(l->rules[i].starts);
	free(l->rules);
	free(l->captures);
	free(l);
}

void ledger_set_limits(struct ledger *l, const struct ledger_limits *limits)
{
	l->limits = limits ? *limits : (struct ledger_limits){};
}

const struct ledger_limits *ledger_limits(const struct ledger *l)
{
	return &l->limits;
}

static bool same_name(const char *kept, const char *name)
{
	return strncmp(kept, name, LEDGER_NAME_MAX) == 0;
}

static struct ledger_rule *find_rule(const struct ledger *l, const char *name)
{
	for (size_t i = 0; i < l->rule_count; i++)
		if (same_name(l->rules[i].name, name))
			return &l->rules[i];
	return NULL;
}

static void remove_rule(struct ledger *l, struct ledger_rule *rule)
{
	size_t behind = l->rule_count - (size_t)(rule - l->rules) - 1;

	free(rule->starts);
	memmove(rule, rule + 1, behind * sizeof(*rule));
	l->rule_count--;
}

static struct ledger_rule *quietest(const struct ledger *l)
{
	struct ledger_rule *least = l->rules;

	for (size_t i = 1; i < l->rule_count; i++)
		if (l->rules[i].active_ns < least->active_ns)
			least = &l->rules[i];
	return least;
}

struct ledger_rule *ledger_book_rule(struct ledger *l, const char *name, int64_t now_ns)
{
	struct ledger_rule *rule = find_rule(l, name), *bigger;

	if (rule) {
		rule->active_ns = now_ns;
		return rule;
	}
	if (l->rule_count == LEDGER_RULES_MAX)
		remove_rule(l, quietest(l));
	bigger = reallocarray(l->rules, l->rule_count + 1, sizeof(*bigger));
	if (!bigger)
		return NULL;
	l->rules = bigger;
	rule = &bigger[l->rule_count++];
	*rule = (struct ledger_rule){.since_ns = LEDGER_NEVER, .active_ns = now_ns};
	snprintf(rule->name, sizeof(rule->name), "%s", name);
	return rule;
}

int ledger_arm(struct ledger *l, const char *name, int64_t now_ns)
{
	struct ledger_rule *rule = ledger_book_rule(l, name, now_ns);

	if (!rule)
		return -ENOMEM;
	if (rule->since_ns == LEDGER_NEVER)
		rule->since_ns = now_ns;
	return 0;
}

void ledger_forget(struct ledger *l, const char *name)
{
	struct ledger_rule *rule = find_rule(l, name);

	if (rule)
		remove_rule(l, rule);
}

struct ledger_capture *ledger_book_capture(struct ledger *l)
{
	struct ledger_capture *bigger = l->captures;

	if (l->capture_count == LEDGER_CAPTURES_MAX) {
		memmove(bigger, bigger + 1, --l->capture_count * sizeof(*bigger));
	} else if (l->capture_count == l->capture_size) {
		size_t size = l->capture_size ? 2 * l->capture_size : 16;

		bigger = reallocarray(l->captures, size, sizeof(*bigger));
		if (!bigger)
			return NULL;
		l->captures = bigger;
		l->capture_size = size;
	}
	bigger[l->capture_count] = (struct ledger_capture){};
	return &bigger[l->capture_count++];
}

int ledger_book_start(struct ledger_rule *rule, uint64_t keep, int64_t time_ns)
{
	size_t most = keep < 1 ? 1 : keep > LEDGER_STARTS_MAX ? LEDGER_STARTS_MAX : (size_t)keep;
	size_t drop = rule->start_count >= most ? rule->start_count - most + 1 : 0;
	int64_t *bigger = rule->starts;

	rule->start_count -= drop;
	if (drop && rule->start_count)
		memmove(bigger, bigger + drop, rule->start_count * sizeof(*bigger));
	if (!drop) {
		bigger = reallocarray(rule->starts, rule->start_count + 1, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		rule->starts = bigger;
	}
	bigger[rule->start_count++] = time_ns;
	return 0;
}

int ledger_begin(struct ledger *l, const struct ledger_what *what, bool capture, uint64_t keep,
	int64_t now_ns, uint64_t *id)
{
	struct ledger_rule *rule = ledger_book_rule(l, what->rule, now_ns);
	struct ledger_capture *c;

	if (!rule || ledger_book_start(rule, keep, now_ns) < 0)
		return -ENOMEM;
	*id = ++l->last_id;
	rule->started++;
	if (!capture)
		return 0;
	c = ledger_book_capture(l);
	if (!c)
		return -ENOMEM;
	c->id = *id;
	c->time_ns = now_ns;
	c->pid = what->pid;
	c->start_ticks = what->start_ticks;
	snprintf(c->rule, sizeof(c->rule), "%s", what->rule);
	snprintf(c->signature, sizeof(c->signature), "%s", what->signature ? what->signature : "");
	return 0;
}

/* The time of the start stays, for the time between two; it is the count that it is taken from. */
void ledger_fail(struct ledger *l, const char *name, uint64_t id, int64_t now_ns)
{
	struct ledger_rule *rule = find_rule(l, name);

	if (rule && rule->started)
		rule->started--;
	for (size_t i = l->capture_count; id && i-- > 0;) {
		if (l->captures[i].id == id) {
			l->captures[i].failed = true;
			l->captures[i].time_ns = now_ns;
			return;
		}
	}
}

static bool has_signature(const struct ledger_capture *c, const char *signature)
{
	return signature && *signature && strncmp(c->signature, signature, SIGNATURE_MAX) == 0;
}

static bool concerns(
	const struct ledger_capture *c, enum ledger_of of, const struct ledger_what *what)
{
	switch (of) {
	case LEDGER_OF_RULE:
		return !c->failed && same_name(c->rule, what->rule);
	case LEDGER_OF_SIGNATURE:
		return !c->failed && has_signature(c, what->signature);
	case LEDGER_OF_PROCESS:
		return c->pid && c->pid == what->pid && c->start_ticks == what->start_ticks;
	case LEDGER_OF_HOST:
		return !c->failed;
	}
	return false;
}

int64_t ledger_capture_time(
	const struct ledger *l, enum ledger_of of, const struct ledger_what *what, uint64_t n)
{
	for (size_t i = l->capture_count; i-- > 0;)
		if (concerns(&l->captures[i], of, what) && --n == 0)
			return l->captures[i].time_ns;
	return LEDGER_NEVER;
}

unsigned int ledger_failures(
	const struct ledger *l, const struct ledger_what *what, int64_t *last_ns)
{
	unsigned int n = 0;

	for (size_t i = l->capture_count; i-- > 0;) {
		const struct ledger_capture *c = &l->captures[i];

		if (!concerns(c, LEDGER_OF_PROCESS, what) || !same_name(c->rule, what->rule))
			continue;
		if (!c->failed)
			break;
		if (!n++)
			*last_ns = c->time_ns;
	}
	return n;
}

int64_t ledger_start_time(const struct ledger *l, const char *name, uint64_t n)
{
	const struct ledger_rule *rule = find_rule(l, name);

	return rule && n && n <= rule->start_count ? rule->starts[rule->start_count - n]
						   : LEDGER_NEVER;
}

uint64_t ledger_started(const struct ledger *l, const char *name)
{
	const struct ledger_rule *rule = find_rule(l, name);

	return rule ? rule->started : 0;
}

int64_t ledger_armed_since(const struct ledger *l, const char *name)
{
	const struct ledger_rule *rule = find_rule(l, name);

	return rule ? rule->since_ns : LEDGER_NEVER;
}

static struct ledger_capture *last_of(const struct ledger *l, const char *signature)
{
	for (size_t i = l->capture_count; i-- > 0;)
		if (!l->captures[i].failed && has_signature(&l->captures[i], signature))
			return &l->captures[i];
	return NULL;
}

void ledger_repeat(struct ledger *l, const struct ledger_what *what)
{
	struct ledger_capture *c = last_of(l, what->signature);

	if (!c || (c->repeat_pid == what->pid && c->repeat_ticks == what->start_ticks))
		return;
	c->repeats++;
	c->repeat_pid = what->pid;
	c->repeat_ticks = what->start_ticks;
}

uint64_t ledger_repeats(const struct ledger *l, const char *signature)
{
	const struct ledger_capture *c = last_of(l, signature);

	return c ? c->repeats : 0;
}
