/* SPDX-License-Identifier: MIT */
/* What becomes of each event. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/losses.h"
#include "cli/watching.h"
#include "cli/why.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/signals.h"
#include "sink/incident.h"

#define EVENTS_BATCH 256 /* events handled before the other sources get their turn */

static void say_target(const struct watching *w, const struct identity *id)
{
	json_t *event = incident_new("target", clock_now_ns(CLOCK_REALTIME));

	if (event)
		json_put(event, "process", incident_process(id));
	feed_say(&w->feed, event);
}

/* A new image, or a new child of the tree: a target from now on, or no longer. */
static void take_birth(struct watching *w, const struct event *e)
{
	const struct event_process *p = &e->process;
	bool was_target = targets_get(&w->targets, p->pid, p->start_ticks) != NULL;
	_cleanup_identity_ struct identity id = {};
	const struct target *target;
	uint64_t rules;
	int r;

	if (targets_identify(&w->targets, e, &id) < 0)
		return;
	rules = targets_judge(&w->targets, e, &id);
	targets_remove(
		&w->targets, p->pid, p->start_ticks); /* its name and arguments are others now */
	if (!rules)
		exits_unwatch(w->exits, p->pid, p->start_ticks);
	if (!rules || targets_add(&w->targets, &id, rules, &target) < 0)
		return;
	r = w->thresholds ? thresholds_watch(w->thresholds, target) : 0;
	if (r == 0 && w->in_flight)
		r = in_flight_watch(w->in_flight, target);
	if (r == 0 && w->stalls)
		r = stalls_watch(w->stalls, target);
	if (r == 0 && w->inside)
		r = inside_watch(w->inside, target);
	if (r < 0)
		log_error("event=sample pid=%d errno=%d", p->pid, -r);
	exits_watch(w->exits, target);
	if (!was_target || !rule_set_is_pids_only(&w->rules))
		say_target(w, &target->identity);
}

static uint64_t waiting_for(const struct watching *w, const struct event *e, uint64_t rules)
{
	uint64_t mask = 0;

	for (size_t i = 0; rule_set_next(rules, &i); i++)
		if (rule_trips(&w->rules.v[i], e))
			mask |= 1ULL << i;
	return mask;
}

/* A death that leaves no core, which a tracer that waits for the exit tells better. */
static uint64_t told_at_exit(const struct watching *w, const struct event *e)
{
	struct event exit = {.kind = EVENT_EXIT, .exit_code = e->signal.number};
	uint64_t rules = exits_to_tell(w->exits, e->process.pid, e->process.start_ticks);

	if (e->kind != EVENT_DEATH || (signals_core_mask() & SIGNAL_BIT(e->signal.number)))
		return 0;
	return waiting_for(w, &exit, rules);
}

static void take_signal(struct watching *w, struct event *e)
{
	_cleanup_event_ struct event *event = e;
	_cleanup_identity_ struct identity id = {};
	uint64_t rules;
	int r;

	if (e->kind == EVENT_DEATH &&
		deaths_knows(w->deaths, e->process.pid, e->process.start_ticks))
		return;
	if (targets_identify(&w->targets, e, &id) < 0)
		return;
	rules = waiting_for(w, e, targets_judge(&w->targets, e, &id)) & ~told_at_exit(w, e);
	if (!rules)
		return;
	r = deaths_begin(w->deaths, e, &id, rules);
	if (r == 0)
		TAKE_PTR(event);
	else
		log_error("event=trip pid=%d errno=%d", e->process.pid, -r);
}

static void begin_exit(
	struct watching *w, const struct target *target, const struct event *e, size_t rule)
{
	const struct rule *r = &w->rules.v[rule];
	const struct live_trip trip = {.rule = rule,
		.trip = trip_by_event(e, NULL, clock_now_ns(CLOCK_BOOTTIME)),
		.event = incident_trip_exit(&target->identity, r->name, e->exit_code, e->time_ns),
		.gone = true};
	int result = trip.event ? lives_begin(w->lives, &trip) : -ENOMEM;

	if (result < 0)
		log_error("event=trip pid=%d errno=%d", target->pid, -result);
}

static void take_exit(struct watching *w, const struct event *e)
{
	const struct event_process *p = &e->process;
	const struct target *target = targets_get(&w->targets, p->pid, p->start_ticks);
	bool known = deaths_knows(w->deaths, p->pid, p->start_ticks);
	uint64_t rules = target ? waiting_for(w, e, target->rules) : 0, told;

	deaths_ended(w->deaths, p->pid, p->start_ticks, e->exit_code);
	if (known) /* has tripped already */
		rules &= ~deaths_rules(w->deaths, p->pid, p->start_ticks);
	told = exits_told(w->exits, p->pid, p->start_ticks) & rules;
	exits_ended(w->exits, p->pid, p->start_ticks);
	rules &= ~told;
	for (size_t i = 0; rule_set_next(rules, &i); i++)
		begin_exit(w, target, e, i);
	if (target && !known && !rules && !told)
		feed_say(&w->feed, incident_exit(&target->identity, e->exit_code, e->time_ns));
	if (w->thresholds)
		thresholds_forget(w->thresholds, p->pid, p->start_ticks);
	targets_remove(&w->targets, p->pid, p->start_ticks);
}

static void take_event(struct watching *w, struct event *e)
{
	switch (e->kind) {
	case EVENT_DEATH:
	case EVENT_FIRST_CHANCE:
		take_signal(w, e);
		return;
	case EVENT_EXEC:
	case EVENT_FORK:
		take_birth(w, e);
		break;
	case EVENT_EXIT:
		take_exit(w, e);
		break;
	}
	event_free(e);
}

bool watching_read_events(struct watching *w)
{
	struct event *e;

	for (int i = 0; i < EVENTS_BATCH; i++) {
		if (probe_next(w->probe, &e) != 1)
			return false;
		take_event(w, e);
	}
	return true;
}

/* A core that the kernel side did not announce (lost, or a kernel that shows it later): the
 * handler's word is enough. */
static struct event *event_from_question(const struct broker_question *q)
{
	struct event *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->kind = EVENT_DEATH;
	e->time_ns = clock_now_ns(CLOCK_REALTIME);
	e->process.pid = q->pid;
	e->process.tid = q->tid;
	e->process.start_ticks = q->start_ticks;
	e->process.start_ns = q->start_ticks * NSEC_PER_TICK;
	e->process.uid = q->uid;
	memcpy(e->process.comm, q->comm, sizeof(e->process.comm));
	e->signal.number = q->signal;
	e->signal.dumps_core = true;
	e->signal.core_soft = q->core_limit;
	return e;
}

static void take_question(struct watching *w, const struct broker_message *message)
{
	const struct broker_question *q = &message->question;
	const struct decision no = {};

	/* The record was written before the kernel started the handler: it is there to be read. */
	while (!deaths_knows(w->deaths, q->pid, q->start_ticks) && watching_read_events(w))
		;
	if (!deaths_knows(w->deaths, q->pid, q->start_ticks)) {
		struct event *e = event_from_question(q);

		if (e)
			take_signal(w, e);
	}
	if (deaths_knows(w->deaths, q->pid, q->start_ticks))
		deaths_asked(w->deaths, q->pid, q->start_ticks, message->conversation);
	else
		broker_answer(w->broker, message->conversation, &no, NULL, -1);
}

void watching_read_handlers(struct watching *w)
{
	for (;;) {
		_cleanup_broker_message_ struct broker_message message = {};
		int r = broker_receive(w->broker, &message);

		if (r < 0)
			log_error("event=broker errno=%d", -r);
		if (r != 1)
			return;
		if (message.kind == BROKER_ASK)
			take_question(w, &message);
		else if (message.kind == BROKER_WHY)
			why_tell(w, message.conversation, message.question.pid);
		else
			deaths_finished(w->deaths, message.conversation,
				message.kind == BROKER_DONE ? message.result : NULL);
	}
}

/* A trip that cannot name them is a trip all the same. */
static void name_burners(struct watching *w, const struct sample *sample, struct live_trip *trip)
{
	int r = thresholds_blame(w->thresholds, sample, json_object_get(trip->event, "trigger"),
		&trip->tid, &trip->stacks);

	if (r == 0 && trip->tid)
		r = json_put_int(json_object_get(trip->event, "process"), "tid", trip->tid);
	if (r < 0)
		log_error("event=blame pid=%d errno=%d", sample->pid, -r);
}

static void begin_threshold(struct watching *w, const struct threshold_trip *t)
{
	const struct sample *sample = &t->measure.sample;
	const struct target *target = targets_get(&w->targets, sample->pid, sample->start_ticks);
	enum condition_kind kind = (enum condition_kind)__builtin_ctz(t->reading.tripped);
	struct live_trip trip = {.rule = t->rule, .trip = trip_by_sample(kind, sample)};
	int r;

	if (!target)
		return;
	trip.event = incident_trip_threshold(&w->rules.v[t->rule], &t->reading, &t->measure,
		&target->identity, clock_now_ns(CLOCK_REALTIME));
	if (trip.event)
		name_burners(w, sample, &trip);
	r = trip.event ? lives_begin(w->lives, &trip) : -ENOMEM;
	if (r < 0)
		log_error("event=trip pid=%d errno=%d", sample->pid, -r);
}

static void restart_thresholds(void *arg, pid_t pid, uint64_t start_ticks, size_t rule)
{
	thresholds_restart(arg, pid, start_ticks, rule);
}

static void restart_in_flight(void *arg, pid_t pid, uint64_t start_ticks, size_t rule)
{
	in_flight_restart(arg, pid, start_ticks, rule);
}

void watching_sample(struct watching *w)
{
	struct threshold_trip trip;

	if (!w->thresholds)
		return;
	lives_each(w->lives, restart_thresholds, w->thresholds);
	if (!thresholds_pass(w->thresholds))
		return;
	while (thresholds_next(w->thresholds, &trip) && !w->closing)
		begin_threshold(w, &trip);
}

static struct trip_counts sum(struct trip_counts a, struct trip_counts b)
{
	return (struct trip_counts){.tripped = a.tripped + b.tripped,
		.captured = a.captured + b.captured,
		.failed = a.failed + b.failed};
}

struct trip_counts watching_counts(const struct watching *w)
{
	return sum(sum(deaths_counts(w->deaths), lives_counts(w->lives)), exits_counts(w->exits));
}

static void keep_store(struct watching *w)
{
	uint64_t captured = watching_counts(w).captured;

	if (captured != w->captured)
		janitor_call(&w->janitor);
	w->captured = captured;
	janitor_check(&w->janitor);
}

/* A process that lives tripped just now. EVENT is taken over; NULL: there was no memory for it. */
static void begin_now(struct watching *w, size_t rule, enum trip_kind kind,
	const struct target *target, pid_t tid, json_t *event)
{
	const struct live_trip trip = {.rule = rule,
		.tid = tid,
		.trip = trip_by_process(
			kind, target->pid, target->start_ticks, clock_now_ns(CLOCK_BOOTTIME)),
		.event = event};
	int r = event ? lives_begin(w->lives, &trip) : -ENOMEM;

	if (r < 0)
		log_error("event=trip pid=%d errno=%d", target->pid, -r);
}

static void begin_request(struct watching *w, const struct in_flight_trip *t)
{
	const struct target *target = targets_get(&w->targets, t->pid, t->start_ticks);
	const char *rule = w->rules.v[t->rule].name;
	uint64_t now = clock_now_ns(CLOCK_REALTIME);

	if (!target)
		return;
	begin_now(w, t->rule, t->kind, target, t->tid,
		t->kind == TRIP_REQUEST
			? incident_trip_request(&target->identity, rule, &t->request, now)
			: incident_trip_unread(&target->identity, rule, &t->unread, now));
}

/* The rule would be waited for in vain. */
/* What a rule does not see of a process; RULE and FUNCTION may be NULL. */
static void say_unseen(const struct watching *w, pid_t pid, uint64_t start_ticks, const char *rule,
	const char *reason, const char *function, const char *detail)
{
	const struct target *target = targets_get(&w->targets, pid, start_ticks);
	json_t *event;

	if (!target)
		return;
	event = incident_new("loss", clock_now_ns(CLOCK_REALTIME));
	if (event) {
		if (rule)
			json_put_text(event, "rule", rule);
		json_put_text(event, "reason", reason);
		if (function)
			json_put_text(event, "function", function);
		json_put_text(event, "detail", detail);
		json_put(event, "process", incident_process(&target->identity));
	}
	feed_say(&w->feed, event);
}

/* The rule would be waited for in vain. */
static void say_blind(const struct watching *w, const struct in_flight_blind *b)
{
	say_unseen(w, b->pid, b->start_ticks, w->rules.v[b->rule].name, "no-path", NULL,
		b->protocol == REQUEST_TLS
			? "its requests are encrypted, and match no --request-path"
			: "its requests are not HTTP/1, and match no --request-path");
}

void watching_serve(struct watching *w)
{
	struct in_flight_trip trip;
	struct in_flight_blind blind;

	if (!w->in_flight)
		return;
	lives_each(w->lives, restart_in_flight, w->in_flight);
	in_flight_pass(w->in_flight);
	while (in_flight_next(w->in_flight, &trip) && !w->closing)
		begin_request(w, &trip);
	while (in_flight_next_blind(w->in_flight, &blind))
		say_blind(w, &blind);
}

static void begin_function(struct watching *w, const struct inside_trip *t)
{
	const struct target *target = targets_get(&w->targets, t->pid, t->start_ticks);

	if (target)
		begin_now(w, t->rule, TRIP_FUNCTION, target, t->report.tid,
			incident_trip_function(&target->identity, w->rules.v[t->rule].name,
				&t->report, clock_now_ns(CLOCK_REALTIME)));
}

void watching_say_note(const struct watching *w, const struct inside_note *note)
{
	say_unseen(w, note->pid, note->start_ticks, w->rules.v[note->rule].name, note->reason,
		note->function, note->detail);
}

static void restart_inside(void *arg, pid_t pid, uint64_t start_ticks, size_t rule)
{
	inside_restart(arg, pid, start_ticks, rule);
}

void watching_functions(struct watching *w)
{
	struct inside_trip trip;
	struct inside_note note;

	if (!w->inside)
		return;
	lives_each(w->lives, restart_inside, w->inside);
	inside_pass(w->inside);
	while (inside_next(w->inside, &trip) && !w->closing)
		begin_function(w, &trip);
	while (inside_next_note(w->inside, &note))
		watching_say_note(w, &note);
}

static void begin_stall(struct watching *w, const struct stall_trip *t)
{
	const struct target *target = targets_get(&w->targets, t->pid, t->start_ticks);

	if (target)
		begin_now(w, t->rule, TRIP_STALL, target, t->report.tid,
			incident_trip_stall(&target->identity, w->rules.v[t->rule].name, &t->report,
				clock_now_ns(CLOCK_REALTIME)));
}

static void restart_stalls(void *arg, pid_t pid, uint64_t start_ticks, size_t rule)
{
	(void)rule; /* it stands still for all of them */
	stalls_restart(arg, pid, start_ticks);
}

void watching_loops(struct watching *w)
{
	struct stall_trip trip;
	struct stall_loss loss;

	if (!w->stalls)
		return;
	lives_each(w->lives, restart_stalls, w->stalls);
	stalls_pass(w->stalls);
	while (stalls_next(w->stalls, &trip) && !w->closing)
		begin_stall(w, &trip);
	while (stalls_next_loss(w->stalls, &loss))
		say_unseen(w, loss.pid, loss.start_ticks, NULL, loss.reason, NULL, loss.detail);
}

void watching_check(struct watching *w)
{
	/* An end that was lost, or missed while arming, would be waited for. */
	if (losses_say(&w->feed, w->probe, &w->targets) || rule_set_is_pids_only(&w->rules))
		targets_sweep(&w->targets);
	if (w->in_flight)
		losses_say_requests(&w->feed, w->in_flight);
	if (w->inside)
		losses_say_functions(&w->feed, w->inside);
	deaths_sweep(w->deaths);
	if (w->registry)
		losses_say_pattern(&w->feed, w->registry);
	if (w->options->ledger_file)
		ledger_file_save(w->options->ledger_file);
	keep_store(w);
}
