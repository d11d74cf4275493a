/* SPDX-License-Identifier: MIT */
#include "cli/why.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/broker_client.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "cli/watching.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "rules/status.h"

#define ANSWER_NS (2 * NSEC_PER_SEC) /* for all who watch together */

/* ---- the side of whoever watches ---- */

static json_t *condition_json(
	const struct rule *rule, enum condition_kind kind, const struct breach_reading *reading)
{
	_cleanup_json_ json_t *o = json_object();
	int r = json_put_text(o, "condition", condition_name(kind));

	r |= json_put_int(o, "limit", (int64_t)rule->conditions[kind].limit);
	if (rule->conditions[kind].percent)
		r |= json_put_bool(o, "percent", 1);
	if (reading->known & 1U << kind) {
		r |= json_put_int(o, "value", (int64_t)reading->value[kind]);
		r |= json_put_bool(o, "met", (reading->met & 1U << kind) != 0);
	}
	return r ? NULL : json_incref(o);
}

static int put_reading(json_t *o, const struct rule *rule, const struct breach_reading *reading)
{
	json_t *conditions = json_array();
	int r = json_put(o, "conditions", conditions);

	for (int kind = 0; r == 0 && kind < CONDITION_KINDS; kind++)
		if (rule->armed & 1U << kind)
			r = json_array_append_new(conditions,
				condition_json(rule, (enum condition_kind)kind, reading));
	r |= json_put_int(o, "held_ms", (int64_t)(reading->held_ns / NSEC_PER_MSEC));
	return r | json_put_int(o, "needed_ms", (int64_t)(reading->needed_ns / NSEC_PER_MSEC));
}

static int put_status(json_t *o, const struct status *status, const struct clock_pair *now)
{
	int r = json_put_text(o, "phase", status_phase_name(status->phase));

	r |= status->reason ? json_put_text(o, "reason", status->reason) : 0;
	if (status->phase == STATUS_COOLING)
		r |= json_put_int(o, "left_ms",
			(status->until_ns - (int64_t)now->boot_ns) / (int64_t)NSEC_PER_MSEC);
	return r;
}

static int put_requests(json_t *o, const struct request_rule *rule, uint64_t points)
{
	json_t *requests = json_object();
	int r = json_put(o, "requests", requests);

	r |= json_put_int(requests, "slow", (int64_t)points);
	r |= json_put_int(requests, "count", (int64_t)rule->count);
	return r | json_put_int(requests, "count_ms", (int64_t)(rule->count_ns / NSEC_PER_MSEC));
}

static int put_functions(json_t *o, const struct watching *w, const struct process *p, size_t rule)
{
	const struct function_rule *functions = &w->rules.v[rule].functions;
	json_t *list = json_array();
	int r = json_put(o, "functions", list);

	for (size_t i = 0; r == 0 && i < functions->n; i++) {
		struct inside_state s;
		json_t *function = json_object();

		r = json_array_append_new(list, function);
		r |= json_put_text(function, "function", functions->v[i].text);
		r |= json_put_int(
			function, "limit_ms", (int64_t)(functions->v[i].limit_ns / NSEC_PER_MSEC));
		if (!inside_state(w->inside, p->pid, p->start_ticks, rule, i, &s))
			continue;
		r |= json_put_text(function, "state", s.state);
		r |= s.file ? json_put_text(function, "file", s.file) : 0;
	}
	return r;
}

static json_t *rule_json(
	const struct watching *w, size_t i, const struct process *p, uint64_t watching)
{
	const struct rule *rule = &w->rules.v[i];
	const struct sample now = {.pid = p->pid,
		.start_ticks = p->start_ticks,
		.time_ns = clock_now_ns(CLOCK_BOOTTIME)};
	const struct trip trip = trip_by_sample(CONDITION_CPU, &now);
	const struct breach_reading *reading = NULL;
	const struct clock_pair clocks = clock_pair_now();
	_cleanup_json_ json_t *o = json_object();
	struct status status;
	int r = json_put_text(o, "rule", rule->name);

	r |= json_put_bool(o, "watches", watching >> i & 1);
	r |= json_put_int(o, "captures", (int64_t)ledger_started(w->ledger, rule->name));
	r |= json_put_int(o, "count", (int64_t)rule->count);
	if (w->in_flight && rule->request.count && rule->request.slow_ns)
		r |= put_requests(o, &rule->request,
			in_flight_points(w->in_flight, p->pid, p->start_ticks, i));
	if (w->inside && rule->functions.n)
		r |= put_functions(o, w, p, i);
	if (w->thresholds)
		reading = thresholds_reading(w->thresholds, p->pid, p->start_ticks, i);
	status = status_of(rule, w->ledger, &trip, reading, &clocks);
	r |= put_status(o, &status, &clocks);
	if (reading)
		r |= put_reading(o, rule, reading);
	return r ? NULL : json_incref(o);
}

static json_t *reply(const struct watching *w, pid_t pid)
{
	_cleanup_process_ struct process process = PROCESS_NONE;
	_cleanup_identity_ struct identity id = {0};
	_cleanup_json_ json_t *o = json_object();
	const struct target *target;
	json_t *rules = json_array();
	uint64_t mask = 0;
	int r = json_put_int(o, "pid", getpid());

	r |= json_put_text(o, "command", w->options->name);
	r |= json_put(o, "rules", rules);
	if (process_open(pid, &process) == 0 && identity_read(process.procfd, &id) == 0) {
		id.pid = pid;
		target = targets_get(&w->targets, pid, process.start_ticks);
		mask = target ? target->rules : rule_set_matching(&w->rules, &id);
	}
	for (size_t i = 0; r == 0 && i < w->rules.n; i++)
		r = json_array_append_new(rules, rule_json(w, i, &process, mask));
	return r ? NULL : json_incref(o);
}

void why_tell(const struct watching *w, uint64_t conversation, pid_t pid)
{
	_cleanup_json_ json_t *answer = reply(w, pid);
	int r = answer ? broker_tell(w->broker, conversation, answer) : -ENOMEM;

	if (r < 0)
		log_error("event=why pid=%d errno=%d", pid, -r);
}

/* ---- the side of whoever asks ---- */

struct why_options {
	pid_t pid;
	bool json;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct why_options *o = state->input;
	uint64_t pid;

	switch (key) {
	case ARGP_KEY_INIT:
		usage_one_line(state);
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->pid)
			argp_error(state, "'%s': one process at a time", arg);
		if (text_parse_u64(arg, &pid) < 0 || pid == 0 || pid > INT32_MAX)
			argp_error(state, "'%s' is not a process id", arg);
		o->pid = (pid_t)pid;
		return 0;
	case ARGP_KEY_END:
		if (!o->pid)
			argp_error(state, "PID is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* A value in the unit of its condition, for a person. */
static const char *format(const json_t *condition, const char *key, char *buf, size_t size)
{
	const char *name = json_get_text(condition, "condition", "");
	int64_t value = json_get_int(condition, key, -1);

	if (value < 0)
		snprintf(buf, size, "not known yet");
	else if (strncmp(name, "cpu", 3) == 0 || json_object_get(condition, "percent"))
		snprintf(buf, size, "%.1f %%", (double)value / 1000);
	else if (strncmp(name, "memory", 6) == 0)
		text_format_size((uint64_t)value, buf, size);
	else
		snprintf(buf, size, "%" PRId64, value);
	return buf;
}

static void print_rule(const json_t *rule)
{
	const char *phase = json_get_text(rule, "phase", "?");
	const json_t *conditions = json_object_get(rule, "conditions"), *c,
		     *requests = json_object_get(rule, "requests");
	int64_t left = json_get_int(rule, "left_ms", 0);
	size_t i;

	printf("  rule %s: ", json_get_text(rule, "rule", "?"));
	if (!json_is_true(json_object_get(rule, "watches"))) {
		puts("does not watch it");
		return;
	}
	fputs(phase, stdout);
	if (json_object_get(rule, "reason"))
		printf(", %s", json_get_text(rule, "reason", ""));
	if (left)
		printf(", for another %.1f s", (double)left / 1000);
	if (strcmp(phase, "breaching") == 0)
		printf(", for %.1f s of %.1f s", (double)json_get_int(rule, "held_ms", 0) / 1000,
			(double)json_get_int(rule, "needed_ms", 0) / 1000);
	putchar('\n');
	if (requests)
		printf("    slow requests: %" PRId64 " of %" PRId64 " in %g s\n",
			json_get_int(requests, "slow", 0), json_get_int(requests, "count", 0),
			(double)json_get_int(requests, "count_ms", 0) / 1000);
	json_array_foreach (json_object_get(rule, "functions"), i, c) {
		printf("    %s, for %g s: %s\n", json_get_text(c, "function", "?"),
			(double)json_get_int(c, "limit_ms", 0) / 1000,
			json_get_text(c, "state", "not watched"));
	}
	json_array_foreach (conditions, i, c) {
		char value[64], limit[64];

		printf("    %s is %s, limit %s%s\n", json_get_text(c, "condition", "?"),
			format(c, "value", value, sizeof(value)),
			format(c, "limit", limit, sizeof(limit)),
			json_is_true(json_object_get(c, "met")) ? ": past it" : "");
	}
}

static void print_replies(const json_t *replies)
{
	const json_t *reply, *rule;
	size_t i, j;

	json_array_foreach (replies, i, reply) {
		printf("coretrap %s[%" PRId64 "]\n", json_get_text(reply, "command", "?"),
			json_get_int(reply, "pid", 0));
		json_array_foreach (json_object_get(reply, "rules"), j, rule) {
			print_rule(rule);
		}
	}
}

int cmd_why(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"json", 'j', 0, 0, "as JSON on standard output", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "PID",
		.doc = "Says which rules watch a process, what they see now, and why they have not "
		       "tripped.",
	};
	_cleanup_process_ struct process process = PROCESS_NONE;
	struct why_options o = {0};
	_cleanup_json_ json_t *replies = NULL;
	int r;

	argv[0] = (char *)"coretrap why";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	/* Whoever watches would only say that it does not watch this one. */
	r = process_open(o.pid, &process);
	if (r == -ESRCH || (r == 0 && process_verify(&process) < 0)) {
		fprintf(stderr, "coretrap why: there is no process %d\n", o.pid);
		return EXIT_TARGET_GONE;
	}
	replies = broker_client_why(o.pid, clock_now_ns(CLOCK_MONOTONIC) + ANSWER_NS);
	if (!json_array_size(replies)) {
		fputs("coretrap why: no watch and no sentinel runs (or you are not root)\n",
			stderr);
		return EXIT_FAILED;
	}
	if (o.json)
		json_dumpf(replies, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII);
	else
		print_replies(replies);
	return 0;
}
