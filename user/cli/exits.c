/* SPDX-License-Identifier: MIT */
#include "cli/exits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "cli/exit_watch.h"
#include "cli/wakeups.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/signals.h"
#include "sink/incident.h"

struct traced {
	struct traced *next;
	pid_t pid;
	uint64_t start_ticks;
	size_t rule;
	uint64_t handled;	   /* signals by which it dies in the kernel's handler's hands */
	struct destination output; /* a file of its own: its tracer has it open all the time */
	struct exit_watch *watch;  /* NULL: paused, or over */
	bool answered;		   /* it is there, or cannot be */
	bool armed;		   /* it waits for the end of the process */
	bool told;		   /* it has told of that end */
	struct decision decision;  /* once it tripped */
};

struct exits {
	struct trip_context context;
	int epollfd;
	struct traced *head;
	struct trip_counts counts;
	const char *closed; /* why nothing is captured any more; NULL: it is */
};

int exits_new(const struct trip_context *context, struct exits **out)
{
	struct exits *e = calloc(1, sizeof(*e));
	int r = e ? wakeups_open(&e->epollfd) : -ENOMEM;

	if (r < 0) {
		free(e);
		return r;
	}
	e->context = *context;
	*out = e;
	return 0;
}

static void remove_first(struct traced **at)
{
	struct traced *t = *at;

	*at = t->next;
	exit_watch_end(t->watch);
	destination_give_back(&t->output);
	free(t);
}

void exits_free(struct exits *e)
{
	if (!e)
		return;
	while (e->head)
		remove_first(&e->head);
	cleanup_close(&e->epollfd);
	free(e);
}

int exits_fd(const struct exits *e)
{
	return e->epollfd;
}

static struct traced *find(const struct exits *e, pid_t pid, uint64_t start_ticks)
{
	for (struct traced *t = e->head; t; t = t->next)
		if (t->pid == pid && t->start_ticks == start_ticks)
			return t;
	return NULL;
}

static bool captures_at_exit(const struct rule *r)
{
	return r->exit != EXIT_WISH_NONE && rule_captures(r);
}

/* Deaths that the kernel's handler captures for one of these rules. */
static uint64_t handled_signals(const struct exits *e, uint64_t rules)
{
	uint64_t handled = 0;

	for (size_t i = 0; rule_set_next(rules, &i); i++) {
		const struct rule *rule = &e->context.rules->v[i];

		if (rule_captures(rule))
			handled |= rule->fatal_signals & signals_core_mask();
	}
	return handled;
}

static int start(struct exits *e, struct traced *t)
{
	const struct rule *rule = &e->context.rules->v[t->rule];
	const struct capture_options what = destination_options(&t->output, &rule->what);
	_cleanup_process_ struct process process = PROCESS_NONE;
	struct exit_watch_request request = {.process = &process,
		.wish = rule->exit,
		.code = rule->exit_code,
		.ignored = t->handled,
		.rule = rule->name,
		.what = &what,
		.output_fd = destination_begin(&t->output)};
	int r = request.output_fd < 0 ? request.output_fd : process_open(t->pid, &process);

	if (r == 0 && process.start_ticks != t->start_ticks)
		r = -ESRCH;
	if (r == 0)
		r = exit_watch_start(&request, &t->watch);
	if (r < 0)
		return r;
	t->answered = false;
	wakeups_add(e->epollfd, exit_watch_fd(t->watch));
	return 0;
}

static void try_start(struct exits *e, struct traced *t)
{
	int r = start(e, t);

	if (r < 0)
		t->answered = true;
	if (r < 0 &&
		r != -ESRCH) /* it has ended before its tracer came: its record tells of that */
		log_error("event=trace pid=%d error=\"%s\"", t->pid, strerror(-r));
}

static int add(struct exits *e, const struct target *target, size_t rule)
{
	struct traced *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	*t = (struct traced){.next = e->head,
		.pid = target->pid,
		.start_ticks = target->start_ticks,
		.rule = rule,
		.handled = handled_signals(e, target->rules)};
	r = destination_borrow(e->context.output, &t->output);
	if (r < 0) {
		free(t);
		return r;
	}
	e->head = t;
	try_start(e, t);
	return 0;
}

static void remove_entry(struct exits *e, const struct traced *t)
{
	struct traced **at = &e->head;

	while (*at != t)
		at = &(*at)->next;
	remove_first(at);
}

void exits_watch(struct exits *e, const struct target *target)
{
	const struct clock_pair now = clock_pair_now();
	const struct traced *t = find(e, target->pid, target->start_ticks);

	/* Another image of it, which the tracer has followed, perhaps to its end. */
	if (e->closed || (t && (t->told || target->rules >> t->rule & 1)))
		return;
	if (t)
		remove_entry(e, t);
	for (size_t i = 0; rule_set_next(target->rules, &i); i++) {
		const struct rule *rule = &e->context.rules->v[i];
		int r;

		if (!captures_at_exit(rule) || rule_is_spent(rule, e->context.ledger, &now))
			continue;
		r = add(e, target, i);
		if (r < 0)
			log_error("event=trace pid=%d errno=%d", target->pid, -r);
		return; /* a process has one tracer */
	}
}

void exits_unwatch(struct exits *e, pid_t pid, uint64_t start_ticks)
{
	const struct traced *t = find(e, pid, start_ticks);

	if (t && !t->told)
		remove_entry(e, t);
}

void exits_close(struct exits *e, const char *reason)
{
	e->closed = reason;
}

void exits_pause(struct exits *e, pid_t pid, uint64_t start_ticks)
{
	struct traced *t = find(e, pid, start_ticks);

	if (!t || !t->watch || exit_watch_pending(t->watch))
		return;
	exit_watch_end(TAKE_PTR(t->watch));
	t->armed = false;
}

void exits_resume(struct exits *e, pid_t pid, uint64_t start_ticks)
{
	struct traced *t = find(e, pid, start_ticks);

	if (t && !t->watch && !t->told)
		try_start(e, t);
}

void exits_ended(struct exits *e, pid_t pid, uint64_t start_ticks)
{
	struct traced *t = find(e, pid, start_ticks);

	/* What the tracer still has to say of it comes first. */
	if (t && t->watch) {
		t->pid = 0;
		return;
	}
	if (t)
		remove_entry(e, t);
}

/* It is held at its end: whether it may be captured is decided now. */
static bool take_trip(struct exits *e, struct traced *t, const json_t *event)
{
	const struct clock_pair now = clock_pair_now();
	const struct trip trip = trip_by_process(TRIP_EXIT, t->pid, t->start_ticks, now.boot_ns);
	json_t *skip;

	t->told = true;
	e->counts.tripped += !e->closed;
	feed_say(e->context.feed, json_incref((json_t *)event));
	if (e->closed)
		t->decision.skip_reason = e->closed;
	else
		t->decision =
			rule_decide(&e->context.rules->v[t->rule], e->context.ledger, &trip, &now);
	if (!t->decision.skip_reason)
		return true;
	skip = incident_follow(event, "skip", clock_now_ns(CLOCK_REALTIME));
	if (skip)
		json_put_text(skip, "reason", t->decision.skip_reason);
	feed_say(e->context.feed, skip);
	return false;
}

static void take_result(struct exits *e, struct traced *t, json_t *event)
{
	json_t *capture = json_object_get(event, "capture");
	const struct clock_pair now = clock_pair_now();
	int r = destination_end(&t->output, capture != NULL, capture);

	feed_say(e->context.feed, json_incref(event));
	if (!capture || r < 0) {
		e->counts.failed++;
		rule_give_back(e->context.ledger, &t->decision, &now);
		return;
	}
	e->counts.captured++;
	followups_start(e->context.followups, &e->context.rules->v[t->rule].then, t->pid,
		t->start_ticks, event);
}

/* false: the tracer is not wanted any more. */
static bool take_message(struct exits *e, struct traced *t, json_t *message)
{
	_cleanup_json_ json_t *m = message;
	const char *event = json_get_text(m, "event", NULL),
		   *what = json_get_text(m, "message", "");

	if (event && strcmp(event, "trip") == 0)
		return take_trip(e, t, m);
	if (event) {
		take_result(e, t, m);
	} else if (strcmp(what, "armed") == 0) {
		t->answered = t->armed = true;
		log_info("event=traced pid=%d cost=\"%s\"", t->pid, json_get_text(m, "cost", ""));
	} else if (strcmp(what, "gone") == 0) {
		t->answered = true;
	} else {
		log_warn(
			"event=trace pid=%d error=\"%s\"", t->pid, json_get_text(m, "reason", "?"));
		t->answered = true;
	}
	return true;
}

/* Whether the entry is over. */
static bool progress_one(struct exits *e, struct traced *t)
{
	json_t *message;
	int r = 0;

	while (t->watch && (r = exit_watch_read(t->watch, &message)) == 1)
		if (!take_message(e, t, message))
			exit_watch_end(TAKE_PTR(t->watch));
	if (t->watch && r < 0) {
		exit_watch_end(TAKE_PTR(t->watch));
		t->armed = false;
	}
	return !t->watch && t->pid == 0;
}

void exits_progress(struct exits *e)
{
	for (struct traced **at = &e->head; *at;) {
		if (progress_one(e, *at))
			remove_first(at);
		else
			at = &(*at)->next;
	}
}

/* With what it has said meanwhile. */
static const struct traced *find_now(struct exits *e, pid_t pid, uint64_t start_ticks)
{
	struct traced *t = find(e, pid, start_ticks);

	if (t)
		progress_one(e, t);
	return t;
}

uint64_t exits_to_tell(struct exits *e, pid_t pid, uint64_t start_ticks)
{
	const struct traced *t = find_now(e, pid, start_ticks);

	return t && (t->armed || t->told) ? 1ULL << t->rule : 0;
}

uint64_t exits_told(struct exits *e, pid_t pid, uint64_t start_ticks)
{
	const struct traced *t = find_now(e, pid, start_ticks);

	return t && t->told ? 1ULL << t->rule : 0;
}

static bool all_answered(const struct exits *e)
{
	for (const struct traced *t = e->head; t; t = t->next)
		if (!t->answered)
			return false;
	return true;
}

void exits_settle(struct exits *e, int timeout_ms)
{
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * NSEC_PER_MSEC;

	while (!all_answered(e) && clock_now_ns(CLOCK_MONOTONIC) < end) {
		struct epoll_event ready;

		epoll_wait(e->epollfd, &ready, 1, 50);
		exits_progress(e);
	}
}

size_t exits_pending(const struct exits *e)
{
	size_t n = 0;

	for (const struct traced *t = e->head; t; t = t->next)
		n += t->watch && exit_watch_pending(t->watch);
	return n;
}

struct trip_counts exits_counts(const struct exits *e)
{
	return e->counts;
}
