/* SPDX-License-Identifier: MIT */
#include "rules/rule.h"

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/signals.h"

void rule_free(struct rule *r)
{
	who_free(&r->who);
	actions_free(&r->before);
	actions_free(&r->then);
	who_list_free(&r->request.paths);
	who_list_free(&r->request.excludes);
	function_rule_free(&r->functions);
}

bool rule_wants_requests(const struct rule *r)
{
	return r->request.slow_ns || r->request.status_max;
}

bool rule_wants_living(const struct rule *r)
{
	return r->armed || rule_wants_requests(r) || r->unread_ns || r->stall_ns || r->functions.n;
}

static bool wants_exit(const struct rule *r, int code)
{
	switch (r->exit) {
	case EXIT_WISH_ANY:
		return true;
	case EXIT_WISH_NONZERO:
		return code != 0;
	case EXIT_WISH_CODE:
		return !(code & 0x7f) && (code >> 8 & 0xff) == r->exit_code;
	case EXIT_WISH_NONE:
		break;
	}
	return false;
}

bool rule_trips(const struct rule *r, const struct event *e)
{
	switch (e->kind) {
	case EVENT_DEATH:
		return r->fatal_signals & SIGNAL_BIT(e->signal.number);
	case EVENT_FIRST_CHANCE:
		return r->first_chance & SIGNAL_BIT(e->signal.number);
	case EVENT_EXIT:
		return wants_exit(r, e->exit_code);
	default:
		return false;
	}
}

/* All that a limit is held against. */
struct question {
	const struct rule *rule;
	const struct ledger *ledger;
	const struct ledger_limits *limits;
	const struct trip *trip;
	struct ledger_what what;
	int64_t now_ns; /* CLOCK_BOOTTIME */
	uint64_t real_ns;
};

#define FREE INT64_MIN /* there is nothing to wait for */

static int64_t after(int64_t time_ns, uint64_t delay_ns)
{
	int64_t delay = delay_ns > INT64_MAX ? INT64_MAX : (int64_t)delay_ns, sum;

	return time_ns == LEDGER_NEVER			      ? FREE
	       : __builtin_add_overflow(time_ns, delay, &sum) ? RULE_NEVER_FREE
							      : sum;
}

static int64_t by_count(const struct question *q)
{
	return q->rule->count && ledger_started(q->ledger, q->rule->name) >= q->rule->count
		       ? RULE_NEVER_FREE
		       : FREE;
}

static int64_t by_end(const struct question *q)
{
	return q->rule->end_ns && q->real_ns >= q->rule->end_ns ? RULE_NEVER_FREE : FREE;
}

static int64_t by_duration(const struct question *q)
{
	int64_t end = after(ledger_armed_since(q->ledger, q->rule->name), q->rule->duration_ns);

	return q->rule->duration_ns && end != FREE && end <= q->now_ns ? RULE_NEVER_FREE : FREE;
}

static int64_t by_begin(const struct question *q)
{
	return q->rule->start_ns > q->real_ns ? after(q->now_ns, q->rule->start_ns - q->real_ns)
					      : FREE;
}

static int64_t by_age(const struct question *q)
{
	return q->trip->age_ns < q->rule->min_age_ns
		       ? after(q->now_ns, q->rule->min_age_ns - q->trip->age_ns)
		       : FREE;
}

static int64_t by_spacing(const struct question *q)
{
	return q->rule->every_ns
		       ? after(ledger_start_time(q->ledger, q->rule->name, 1), q->rule->every_ns)
		       : FREE;
}

static int64_t by_rate(const struct question *q)
{
	uint64_t n = q->rule->rate_count;

	if (n > LEDGER_STARTS_MAX)
		n = LEDGER_STARTS_MAX;
	return n ? after(ledger_start_time(q->ledger, q->rule->name, n), q->rule->rate_ns) : FREE;
}

/* Deaths and exits come once, and are no second try. What kept a process from being captured
 * (a debugger, the host's memory) may pass; each try may stop it. */
static int64_t by_failures(const struct question *q)
{
	enum trip_kind kind = q->trip->kind;
	uint64_t wait = q->rule->interval_ns ? q->rule->interval_ns : NSEC_PER_SEC;
	unsigned int failures;
	int64_t last;

	if (kind == TRIP_SIGNAL || kind == TRIP_FIRST_CHANCE || kind == TRIP_EXIT)
		return FREE;
	failures = ledger_failures(q->ledger, &q->what, &last);
	for (unsigned int i = 1; i < failures && wait < RULE_RETRY_MAX_NS; i++)
		wait *= 2;
	if (wait > RULE_RETRY_MAX_NS)
		wait = RULE_RETRY_MAX_NS;
	return failures ? after(last, wait) : FREE;
}

/* A death by a signal that leaves no core, and a signal that a handler took, leave nothing that
 * could be captured. */
static const char *nothing_to_capture(const struct trip *trip)
{
	if (trip->kind == TRIP_FIRST_CHANCE)
		return "handled";
	if (trip->kind == TRIP_SIGNAL && trip->event &&
		!(signals_core_mask() & SIGNAL_BIT(trip->event->signal.number)))
		return "memory-gone";
	return NULL;
}

static int64_t by_process(const struct question *q)
{
	return q->limits->process_spacing_ns
		       ? after(ledger_capture_time(q->ledger, LEDGER_OF_PROCESS, &q->what, 1),
				 q->limits->process_spacing_ns)
		       : FREE;
}

static int64_t by_day(const struct question *q, enum ledger_of of, uint64_t most)
{
	return most ? after(ledger_capture_time(q->ledger, of, &q->what, most), LEDGER_DAY_NS)
		    : FREE;
}

static int64_t by_signature(const struct question *q)
{
	return by_day(q, LEDGER_OF_SIGNATURE, q->limits->signature_per_day);
}

static int64_t by_rule_day(const struct question *q)
{
	return by_day(q, LEDGER_OF_RULE, q->limits->rule_per_day);
}

static int64_t by_host_day(const struct question *q)
{
	return by_day(q, LEDGER_OF_HOST, q->limits->host_per_day);
}

struct limit {
	const char *reason;
	int64_t (*until)(const struct question *q);
};

/* In the order in which they are told. */
static const struct limit ends[] = {
	{"count-reached", by_count},
	{"end-passed", by_end},
	{"duration-passed", by_duration},
};
static const char failed_before[] = "failed-before";
static const struct limit own_limits[] = {
	{"not-started", by_begin},
	{"too-young", by_age},
	{failed_before, by_failures},
	{"too-soon", by_spacing},
	{"rate-reached", by_rate},
};
static const char crash_known[] = "crash-known";
static const struct limit host_limits[] = {
	{crash_known, by_signature},
	{"process-too-soon", by_process},
	{"rule-day-limit", by_rule_day},
	{"host-day-limit", by_host_day},
};

static const char *first_of(
	const struct limit *v, size_t n, const struct question *q, int64_t *until_ns)
{
	for (size_t i = 0; i < n; i++) {
		*until_ns = v[i].until(q);
		if (*until_ns > q->now_ns)
			return v[i].reason;
	}
	return NULL;
}

bool rule_captures(const struct rule *r)
{
	return !r->observe && r->what.kind != CORE_NONE;
}

static struct question ask(const struct rule *r, const struct ledger *l, const struct trip *trip,
	const struct clock_pair *now)
{
	return (struct question){
		.rule = r,
		.ledger = l,
		.limits = ledger_limits(l),
		.trip = trip,
		.what = {r->name, trip->pid, trip->start_ticks, trip->signature},
		.now_ns = (int64_t)now->boot_ns,
		.real_ns = now->real_ns,
	};
}

const char *rule_refusal(const struct rule *r, const struct ledger *l, const struct trip *trip,
	const struct clock_pair *now, int64_t *until_ns)
{
	struct question q = ask(r, l, trip, now);
	const char *reason = first_of(ends, ARRAY_SIZE(ends), &q, until_ns);

	if (!reason)
		reason = first_of(own_limits, ARRAY_SIZE(own_limits), &q, until_ns);
	if (!reason && rule_captures(r)) {
		reason = nothing_to_capture(trip);
		*until_ns = RULE_NEVER_FREE;
	}
	/* What captures nothing floods nobody. */
	if (!reason && rule_captures(r))
		reason = first_of(host_limits, ARRAY_SIZE(host_limits), &q, until_ns);
	return reason;
}

struct decision rule_decide(const struct rule *r, struct ledger *l, const struct trip *trip,
	const struct clock_pair *now)
{
	struct decision d = {.rule = r->name, .what = &r->what};
	struct ledger_what what = {r->name, trip->pid, trip->start_ticks, trip->signature};
	int64_t until;

	d.skip_reason = rule_refusal(r, l, trip, now, &until);
	if (!d.skip_reason && ledger_begin(l, &what, rule_captures(r), r->rate_count,
				      (int64_t)now->boot_ns, &d.entry) < 0)
		d.skip_reason = "no-memory";
	if (d.skip_reason == crash_known)
		ledger_repeat(l, &what);
	d.told = d.skip_reason == failed_before;
	if (d.skip_reason)
		return d;
	d.capture = rule_captures(r);
	if (r->observe)
		d.skip_reason = "observe";
	return d;
}

void rule_give_back(struct ledger *l, const struct decision *d, const struct clock_pair *now)
{
	if (d->entry)
		ledger_fail(l, d->rule, d->entry, (int64_t)now->boot_ns);
}

static int64_t last_of(const struct limit *v, size_t n, const struct question *q)
{
	int64_t last = FREE;

	for (size_t i = 0; i < n; i++) {
		int64_t until = v[i].until(q);

		if (until > last)
			last = until;
	}
	return last;
}

uint64_t rule_retry_ns(const struct rule *r, const struct ledger *l, const struct trip *trip,
	const struct clock_pair *now)
{
	struct question q = ask(r, l, trip, now);
	const int64_t until[] = {last_of(ends, ARRAY_SIZE(ends), &q),
		last_of(own_limits, ARRAY_SIZE(own_limits), &q),
		rule_captures(r) ? last_of(host_limits, ARRAY_SIZE(host_limits), &q) : FREE};
	int64_t last = q.now_ns;

	for (size_t i = 0; i < ARRAY_SIZE(until); i++)
		if (until[i] > last)
			last = until[i];
	return last == RULE_NEVER_FREE ? UINT64_MAX : (uint64_t)(last - q.now_ns);
}

bool rule_is_spent(const struct rule *r, const struct ledger *l, const struct clock_pair *now)
{
	struct trip nobody = {};
	struct question q = ask(r, l, &nobody, now);
	int64_t until;

	return first_of(ends, ARRAY_SIZE(ends), &q, &until) != NULL;
}
