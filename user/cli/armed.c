/* SPDX-License-Identifier: MIT */
#include "cli/armed.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "capture/exit_tracer.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/signals.h"
#include "sink/incident.h"
#include "target/process.h"

#define TARGETS_SHOWN 100

static json_t *signal_names(uint64_t mask)
{
	json_t *list = json_array();
	char name[24];

	for (int sig = 1; list && sig <= 64; sig++)
		if (mask & SIGNAL_BIT(sig))
			json_array_append_new(
				list, json_string(signals_name(sig, name, sizeof(name))));
	return list;
}

/* Resident bytes: what a full capture of it holds before compression, as far as can be told without
 * a walk. */
static uint64_t resident_bytes(const struct target *target)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	_cleanup_free_ char *text = NULL;
	uint64_t pages = 0;

	if (process_open(target->pid, &p) < 0 ||
		io_read_file_at(p.procfd, "statm", 256, &text, NULL) < 0)
		return 0;
	if (sscanf(text, "%*u %" SCNu64, &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_targets(json_t *event, const struct targets *targets, uint64_t mask)
{
	json_t *list = json_array();
	uint64_t largest = 0;
	size_t n = 0;

	for (const struct target *t = targets->head; list && t; t = t->next) {
		uint64_t bytes;

		if (!(t->rules & mask) || n++ >= TARGETS_SHOWN)
			continue;
		bytes = resident_bytes(t);
		largest = bytes > largest ? bytes : largest;
		json_array_append_new(list, incident_process(&t->identity));
	}
	json_put(event, "targets", list);
	json_put_int(event, "target_count", (int64_t)n);
	if (largest)
		json_put_int(event, "estimated_bytes", (int64_t)largest);
}

static void put_output(json_t *event, const struct destination *output)
{
	struct statvfs space;
	int fd = output->form == OUTPUT_STORE ? output->store.dirfd : output->file.dirfd;
	json_t *o = json_object();

	if (!o || json_put(event, "output", o) < 0)
		return;
	json_put_text(o, "path", output->form == OUTPUT_STORE ? output->store.path : output->path);
	if (fd >= 0 && fstatvfs(fd, &space) == 0)
		json_put_int(o, "free_bytes", (int64_t)(space.f_bavail * space.f_frsize));
}

/* In the units of the flags: percent of a processor, else what the condition counts. */
static void put_thresholds(json_t *event, const struct rule *rule)
{
	json_t *thresholds = json_object();

	for (int kind = 0; thresholds && kind < CONDITION_KINDS; kind++) {
		const struct condition *c = &rule->conditions[kind];
		bool percent = c->percent || kind == CONDITION_CPU || kind == CONDITION_CPU_BELOW;

		if (rule->armed & 1U << kind)
			json_put(thresholds, condition_name((enum condition_kind)kind),
				percent ? json_real((double)c->limit / 1000)
					: json_integer((json_int_t)c->limit));
	}
	if (rule->armed && rule->for_ns)
		json_put_int(event, "for_ms", (int64_t)(rule->for_ns / NSEC_PER_MSEC));
	if (rule->armed)
		json_put(event, "thresholds", thresholds);
	else
		json_decref(thresholds);
}

static json_t *texts(const struct who_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(array, json_string(list->v[i]));
	return array;
}

static void put_requests(json_t *event, const struct rule *rule)
{
	const struct request_rule *r = &rule->request;
	json_t *o = json_object();

	json_put(event, "requests", o);
	if (r->slow_ns)
		json_put_int(o, "slow_ms", (int64_t)(r->slow_ns / NSEC_PER_MSEC));
	if (r->paths.n)
		json_put(o, "paths", texts(&r->paths));
	if (r->excludes.n)
		json_put(o, "excludes", texts(&r->excludes));
	if (r->count) {
		json_put_int(o, "count", (int64_t)r->count);
		json_put_int(o, "count_ms", (int64_t)(r->count_ns / NSEC_PER_MSEC));
	}
	if (r->share) {
		json_put(o, "share_percent", json_real((double)r->share / 1000));
		json_put_int(o, "share_ms", (int64_t)(r->share_ns / NSEC_PER_MSEC));
	}
	if (r->status_max) {
		json_put_int(o, "status_min", r->status_min);
		json_put_int(o, "status_max", r->status_max);
	}
}

/* The file is that of the first target that has it. */
static void put_function(json_t *o, const struct targets *targets, const struct inside *inside,
	size_t rule, size_t at)
{
	struct inside_state state = {};

	for (const struct target *t = targets->head; t && !state.file; t = t->next)
		if (inside_state(inside, t->pid, t->start_ticks, rule, at, &state) && state.file)
			json_put_text(o, "file", state.file);
}

static void put_functions(json_t *event, const struct function_rule *functions, size_t rule,
	const struct targets *targets, const struct inside *inside)
{
	json_t *list = json_array();

	json_put(event, "functions", list);
	for (size_t i = 0; i < functions->n; i++) {
		json_t *o = json_object();

		json_array_append_new(list, o);
		json_put_text(o, "function", functions->v[i].text);
		json_put_int(o, "limit_ms", (int64_t)(functions->v[i].limit_ns / NSEC_PER_MSEC));
		put_function(o, targets, inside, rule, i);
	}
}

/* Whose core is wanted has a price from now on. */
static void put_exit(json_t *event, const struct rule *rule)
{
	json_t *notes = json_array();

	if (rule->exit == EXIT_WISH_CODE)
		json_put_int(event, "exit", rule->exit_code);
	else
		json_put_text(event, "exit", rule->exit == EXIT_WISH_ANY ? "any" : "nonzero");
	if (rule_captures(rule)) {
		json_array_append_new(
			notes, json_string("each target is traced: " EXIT_TRACER_COST));
		json_put(event, "notes", notes);
	} else {
		json_decref(notes);
	}
}

json_t *armed_event(const struct rule *rule, uint64_t mask, const struct targets *targets,
	const struct inside *inside, const struct destination *output)
{
	json_t *event = incident_new("armed", clock_now_ns(CLOCK_REALTIME));

	if (!event)
		return NULL;
	json_put_text(event, "rule", rule->name);
	if (rule->fatal_signals)
		json_put(event, "signals", signal_names(rule->fatal_signals));
	if (rule->first_chance)
		json_put(event, "first_chance", signal_names(rule->first_chance));
	json_put_text(event, "kind", rule->observe ? "none" : core_kind_name(rule->what.kind));
	put_thresholds(event, rule);
	if (rule_wants_requests(rule))
		put_requests(event, rule);
	if (rule->unread_ns)
		json_put_int(event, "unread_ms", (int64_t)(rule->unread_ns / NSEC_PER_MSEC));
	if (rule->stall_ns)
		json_put_int(event, "stall_ms", (int64_t)(rule->stall_ns / NSEC_PER_MSEC));
	if (rule->functions.n)
		put_functions(event, &rule->functions, (size_t)(rule - targets->rules->v), targets,
			inside);
	if (rule->exit != EXIT_WISH_NONE)
		put_exit(event, rule);
	put_targets(event, targets, mask);
	if (output->store.dirfd >= 0 || output->path)
		put_output(event, output);
	return event;
}
