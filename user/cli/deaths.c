/* SPDX-License-Identifier: MIT */
#include "cli/deaths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/frames.h"
#include "cli/wakeups.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "sink/incident.h"
#include "target/unwind.h"

#define UNWINDERS_MAX 4 /* at a time: a storm must not take the host's processors */
#define HANDLER_GRACE_NS \
	(500 * NSEC_PER_MSEC) /* after the end, for a question still in the socket */

struct death {
	struct death *next;
	struct event *event;
	struct identity identity;
	uint64_t rules; /* that wait for it */
	size_t rule;	/* the one that decided */
	json_t *trip;
	struct unwind *unwind;
	bool waits_for_unwinder;
	const char *refused; /* it came past the end, for this reason; else NULL */
	bool gone;	     /* nothing more is to be read from the process */
	bool decided;
	struct decision decision;
	bool asked, answered;
	uint64_t conversation;
	bool missing; /* at the last sweep */
	bool ended;
	uint64_t ended_ns; /* CLOCK_MONOTONIC */
	int exit_code;
	bool settled; /* its last event is out; kept until the process ended, against a second
			 record */
};

struct deaths {
	struct trip_context context;
	struct broker *broker; /* NULL: no handler will ask */
	int epollfd;
	struct death *head;
	size_t unwinders;
	struct trip_counts counts;
	const char *closed; /* why nothing is captured any more; NULL: it is */
};

int deaths_new(const struct trip_context *context, struct broker *broker, struct deaths **out)
{
	struct deaths *d = calloc(1, sizeof(*d));
	int r = d ? wakeups_open(&d->epollfd) : -ENOMEM;

	if (r < 0) {
		free(d);
		return r;
	}
	d->context = *context;
	d->broker = broker;
	*out = d;
	return 0;
}

static void free_death(struct death *death)
{
	unwind_free(death->unwind);
	event_free(death->event);
	identity_free(&death->identity);
	json_decref(death->trip);
	free(death);
}

void deaths_free(struct deaths *d)
{
	if (!d)
		return;
	for (struct death *death = d->head, *next; death; death = next) {
		next = death->next;
		free_death(death);
	}
	cleanup_close(&d->epollfd);
	free(d);
}

int deaths_fd(const struct deaths *d)
{
	return d->epollfd;
}

static struct death *find(const struct deaths *d, pid_t pid, uint64_t start_ticks)
{
	for (struct death *death = d->head; death; death = death->next)
		if (death->event->kind == EVENT_DEATH && death->event->process.pid == pid &&
			death->event->process.start_ticks == start_ticks)
			return death;
	return NULL;
}

bool deaths_knows(const struct deaths *d, pid_t pid, uint64_t start_ticks)
{
	return find(d, pid, start_ticks) != NULL;
}

uint64_t deaths_rules(const struct deaths *d, pid_t pid, uint64_t start_ticks)
{
	const struct death *death = find(d, pid, start_ticks);

	return death ? death->rules : 0;
}

static void settle(struct deaths *d, struct death *death, const char *reason, const char *detail)
{
	json_t *skip = incident_follow(death->trip, "skip", clock_now_ns(CLOCK_REALTIME));

	if (skip && reason)
		json_put_text(skip, "reason", reason);
	if (skip && detail)
		json_put_text(skip, "detail", detail);
	feed_say(d->context.feed, skip);
	death->settled = true;
}

/* Reasons for which the kernel starts no handler, though the signal dumps core. */
static const char *kernel_refusal(const struct death *death)
{
	const struct event_signal *s = &death->event->signal;

	if ((death->exit_code & 0x7f) != s->number && death->exit_code)
		return "killed-meanwhile";
	if (s->not_dumpable)
		return "not-dumpable";
	if (s->core_soft == 1)
		return "core-limit-1"; /* the kernel takes this for a crash of a crash handler */
	return "no-handler";
}

static const char *kernel_refusal_detail(const struct death *death)
{
	if (strcmp(kernel_refusal(death), "no-handler") != 0)
		return NULL;
	return "more crashes at once than kernel.core_pipe_limit, or no memory to start a handler";
}

/* A capture that was decided comes to nothing. */
static void fail(struct deaths *d, struct death *death, const char *reason, const char *detail)
{
	const struct clock_pair now = clock_pair_now();

	d->counts.failed++;
	rule_give_back(d->context.ledger, &death->decision, &now);
	destination_end(d->context.output, false, NULL);
	settle(d, death, reason, detail);
}

static void answer(struct deaths *d, struct death *death)
{
	struct decision decision = death->decision;
	int fd = decision.capture ? destination_begin(d->context.output) : -1;
	int r = fd < 0 && decision.capture ? fd : 0;
	struct capture_options what;

	death->answered = true;
	if (decision.what) {
		what = destination_options(d->context.output, decision.what);
		decision.what = &what;
	}
	if (r == 0)
		r = broker_answer(d->broker, death->conversation, &decision, death->trip, fd);
	if (r == -EMSGSIZE &&
		json_object_del(death->trip, "stack") == 0) /* the capture unwinds for itself */
		r = broker_answer(d->broker, death->conversation, &decision, death->trip, fd);
	if (r < 0 && decision.capture)
		fail(d, death, "handler-unreachable", strerror(-r));
}

static void follow_up(const struct deaths *d, const struct death *death, const json_t *incident)
{
	const struct event_process *p = &death->event->process;

	followups_start(d->context.followups, &d->context.rules->v[death->rule].then, p->pid,
		p->start_ticks, incident);
}

/* The first rule that captures it; where none does, the first that waits for it says why not. */
static void choose(struct deaths *d, struct death *death)
{
	struct clock_pair now = clock_pair_now();
	struct trip trip = trip_by_event(
		death->event, json_get_text(death->trip, "signature", NULL), now.boot_ns);
	bool first = true;

	for (size_t i = 0; rule_set_next(death->rules, &i); i++) {
		struct decision decision =
			rule_decide(&d->context.rules->v[i], d->context.ledger, &trip, &now);

		if (first || decision.capture) {
			death->decision = decision;
			death->rule = i;
		}
		if (decision.capture)
			break;
		first = false;
	}
	json_put_text(death->trip, "rule", death->decision.rule);
}

/* It counts for nothing: it is too late. */
static void refuse(const struct deaths *d, struct death *death)
{
	death->decision = (struct decision){
		.rule = d->context.rules->v[death->rule].name, .skip_reason = death->refused};
}

static void decide(struct deaths *d, struct death *death)
{
	if (death->refused)
		refuse(d, death);
	else
		choose(d, death);
	death->decided = true;
	d->counts.tripped += !death->refused;
	feed_say(d->context.feed, json_incref(death->trip));
	if (death->decision.skip_reason) {
		settle(d, death, death->decision.skip_reason, NULL);
	} else if (!death->decision.capture) { /* kind none: the trip says it all */
		death->settled = true;
		follow_up(d, death, death->trip);
	}
	if (death->asked)
		answer(d, death);
}

/* Whether an unwinder runs now. Of the process first; where that is gone, or ends meanwhile, of its
 * executable. */
static bool start_unwinder(struct deaths *d, struct death *death)
{
	int r = death->gone ? -ESRCH : frames_start(death->event, &death->unwind);

	if (r < 0) {
		death->gone = true;
		r = frames_start_executable(death->event, &death->identity, &death->unwind);
	}
	if (r < 0)
		return false;
	wakeups_add(d->epollfd, unwind_fd(death->unwind));
	d->unwinders++;
	return true;
}

static void unwind_or_decide(struct deaths *d, struct death *death)
{
	if (death->refused) {
		decide(d, death);
		return;
	}
	death->waits_for_unwinder = d->unwinders >= UNWINDERS_MAX;
	if (!death->waits_for_unwinder && !start_unwinder(d, death))
		decide(d, death);
}

int deaths_begin(struct deaths *d, struct event *e, struct identity *id, uint64_t rules)
{
	struct death *death = calloc(1, sizeof(*death));
	struct death **end = &d->head;

	if (!death)
		return -ENOMEM;
	death->rules = rules;
	death->refused = d->closed;
	rule_set_next(rules, &death->rule);
	death->trip = incident_trip(e, id, d->context.rules->v[death->rule].name);
	if (!death->trip) {
		free(death);
		return -ENOMEM;
	}
	death->event = e;
	death->identity = *id;
	*id = (struct identity){};
	while (*end)
		end = &(*end)->next;
	*end = death;
	unwind_or_decide(d, death);
	return 0;
}

void deaths_close(struct deaths *d, const char *reason)
{
	d->closed = reason;
}

void deaths_asked(struct deaths *d, pid_t pid, uint64_t start_ticks, uint64_t conversation)
{
	struct death *death = find(d, pid, start_ticks);

	if (!death)
		return;
	death->asked = true;
	death->conversation = conversation;
	if (death->decided)
		answer(d, death);
}

static struct death *find_conversation(const struct deaths *d, uint64_t conversation)
{
	for (struct death *death = d->head; death; death = death->next)
		if (death->answered && death->conversation == conversation)
			return death;
	return NULL;
}

void deaths_finished(struct deaths *d, uint64_t conversation, const json_t *result)
{
	struct death *death = find_conversation(d, conversation);
	json_t *incident = json_object_get(result, "incident");
	int r;

	if (!death || death->settled)
		return;
	if (!incident) {
		fail(d, death, json_get_text(result, "code", "handler-died"),
			json_get_text(result, "reason", NULL));
		return;
	}
	r = destination_end(d->context.output, true, json_object_get(incident, "capture"));
	if (r < 0) {
		fail(d, death, "capture-failed", strerror(-r));
		return;
	}
	feed_say(d->context.feed, json_incref(incident));
	d->counts.captured++;
	death->settled = true;
	follow_up(d, death, incident);
}

void deaths_ended(struct deaths *d, pid_t pid, uint64_t start_ticks, int exit_code)
{
	struct death *death = find(d, pid, start_ticks);

	if (!death || death->ended)
		return;
	death->ended = true;
	death->ended_ns = clock_now_ns(CLOCK_MONOTONIC);
	death->exit_code = exit_code;
}

void deaths_sweep(struct deaths *d)
{
	for (struct death *death = d->head; death; death = death->next) {
		const struct event_process *p = &death->event->process;
		_cleanup_process_ struct process process = PROCESS_NONE;

		if (death->ended)
			continue;
		if (process_open(p->pid, &process) == 0 && process.start_ticks == p->start_ticks)
			death->missing = false;
		else if (!death->missing)
			death->missing = true; /* its record may be on the way */
		else
			deaths_ended(d, p->pid, p->start_ticks, 0);
	}
}

static void progress_one(struct deaths *d, struct death *death, uint64_t now_ns)
{
	_cleanup_json_ json_t *threads = NULL;
	int r;

	if (death->unwind) {
		r = unwind_read(death->unwind, &threads);
		if (r == 0)
			return;
		if (r < 0)
			log_debug("event=unwind pid=%d errno=%d", death->event->process.pid, -r);
		unwind_free(TAKE_PTR(death->unwind));
		d->unwinders--;
		if ((r < 0 || !frames_put(death->event, threads, death->trip)) && !death->gone) {
			death->gone = true;
			if (start_unwinder(d, death))
				return;
		}
		decide(d, death);
	} else if (death->waits_for_unwinder) {
		unwind_or_decide(d, death);
	}
	/* A capture was decided, the process is gone, and no handler ever asked: the kernel gave no
	 * core. */
	if (death->decided && !death->settled && !death->asked && death->ended &&
		now_ns - death->ended_ns > HANDLER_GRACE_NS) {
		fail(d, death, kernel_refusal(death), kernel_refusal_detail(death));
	}
}

void deaths_progress(struct deaths *d, uint64_t now_ns)
{
	for (struct death **at = &d->head; *at;) {
		struct death *death = *at;

		progress_one(d, death, now_ns);
		if (death->settled && (death->ended || death->event->kind != EVENT_DEATH)) {
			*at = death->next;
			free_death(death);
		} else {
			at = &death->next;
		}
	}
}

void deaths_finish(struct deaths *d)
{
	for (struct death *death = d->head; death; death = death->next) {
		if (!death->decided)
			decide(d, death);
		if (!death->settled) /* its handler, if it has one, publishes what it was told to */
			fail(d, death, "interrupted", NULL);
	}
}

size_t deaths_pending(const struct deaths *d)
{
	size_t n = 0;

	for (const struct death *death = d->head; death; death = death->next)
		n += !death->settled;
	return n;
}

struct trip_counts deaths_counts(const struct deaths *d)
{
	return d->counts;
}
