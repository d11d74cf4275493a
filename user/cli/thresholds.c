/* SPDX-License-Identifier: MIT */
#include "cli/thresholds.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "probe/sampler.h"
#include "target/process.h"
#include "target/usage.h"

#define INTERVAL_DEFAULT_NS (1 * NSEC_PER_SEC)
#define EARLY_NS	    (5 * NSEC_PER_MSEC) /* by which a timer's tick may come early */
#define LOOKED_AHEAD_MAX    4			/* watched processes */
#define LATE_INTERVALS	    4			/* as long as an interval may turn out to be */
#define GONE_PASSES	    2 /* without a sample: it is gone; its first may come before its mark */

struct watched {
	struct watched *next, **at; /* AT: what points to this one */
	pid_t pid;
	uint64_t start_ticks;
	unsigned int missed;   /* passes in a row */
	uint64_t pass;	       /* the last one that saw it */
	struct burner *burner; /* NULL: it is past no CPU threshold */
	uint64_t resting;      /* rules that were restarted in turn REST_TURN */
	uint64_t rest_turn;
	struct breach *breaches[RULE_SET_MAX];
};

struct thresholds {
	const struct rule_set *rules;
	const struct ledger *ledger;
	struct sampler *sampler;
	struct blame *blame;
	uint64_t cpu_rules; /* mask of those with a CPU threshold */
	int timerfd;
	uint64_t due[RULE_SET_MAX]; /* CLOCK_MONOTONIC, when the rule is to be fed */
	struct watched *head;
	size_t watched_count;
	void *by_pid; /* the same, for tsearch(3) */
	uint64_t passes;
	uint64_t turns;		/* calls of thresholds_pass(), passes or not */
	struct measure machine; /* what is the same for all */
	struct threshold_trip *trips;
	size_t trip_count, trip_room, trip_next;
};

static uint64_t interval_of(const struct rule *rule)
{
	return rule->interval_ns ? rule->interval_ns : INTERVAL_DEFAULT_NS;
}

static int open_timer(const struct rule_set *rules, int *fd)
{
	uint64_t shortest = UINT64_MAX, mask = rule_set_sampling(rules);
	struct itimerspec every = {0};

	for (size_t i = 0; rule_set_next(mask, &i); i++)
		if (interval_of(&rules->v[i]) < shortest)
			shortest = interval_of(&rules->v[i]);
	every.it_interval.tv_sec = (time_t)(shortest / NSEC_PER_SEC);
	every.it_interval.tv_nsec = (long)(shortest % NSEC_PER_SEC);
	every.it_value.tv_nsec = 1; /* now */
	*fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (*fd < 0 || timerfd_settime(*fd, 0, &every, NULL) < 0)
		return -errno;
	return 0;
}

int thresholds_open(
	const struct rule_set *rules, const struct ledger *ledger, struct thresholds **out)
{
	struct thresholds *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->rules = rules;
	t->ledger = ledger;
	t->timerfd = -1;
	t->turns = 1;
	for (size_t i = 0; i < rules->n; i++)
		if (rules->v[i].armed & 1U << CONDITION_CPU)
			t->cpu_rules |= 1ULL << i;
	t->machine = (struct measure){
		.fds = USAGE_UNKNOWN,
		.quota_ns = USAGE_UNKNOWN,
		.memory_limit = USAGE_UNKNOWN,
		.machine_memory =
			(uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
		.machine_cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN),
	};
	r = sampler_open(&t->sampler);
	if (r == 0)
		r = blame_new(t->sampler, &t->blame);
	if (r == 0)
		r = open_timer(rules, &t->timerfd);
	if (r < 0) {
		thresholds_close(t);
		return r;
	}
	*out = t;
	return 0;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t left = ((const struct watched *)a)->pid, right = ((const struct watched *)b)->pid;

	return (left > right) - (left < right);
}

static struct watched *find_pid(const struct thresholds *t, pid_t pid)
{
	const struct watched key = {.pid = pid};
	struct watched **found = tfind(&key, &t->by_pid, compare_pids);

	return found ? *found : NULL;
}

static struct watched *find(const struct thresholds *t, pid_t pid, uint64_t start_ticks)
{
	struct watched *w = find_pid(t, pid);

	return w && w->start_ticks == start_ticks ? w : NULL;
}

static void free_watched(const struct thresholds *t, struct watched *w)
{
	blame_end(t->blame, w->burner);
	for (size_t i = 0; i < t->rules->n; i++)
		breach_free(w->breaches[i]);
	free(w);
}

static void forget(struct thresholds *t, struct watched *w)
{
	sampler_remove(t->sampler, w->pid, w->start_ticks);
	tdelete(w, &t->by_pid, compare_pids);
	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
	t->watched_count--;
	free_watched(t, w);
}

void thresholds_close(struct thresholds *t)
{
	if (!t)
		return;
	while (t->head)
		forget(t, t->head);
	blame_free(t->blame);
	sampler_close(t->sampler);
	cleanup_close(&t->timerfd);
	free(t->trips);
	free(t);
}

int thresholds_fd(const struct thresholds *t)
{
	return t->timerfd;
}

static int make_watched(
	struct thresholds *t, const struct target *target, uint64_t mask, struct watched **out)
{
	struct watched *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w)
		return -ENOMEM;
	w->pid = target->pid;
	w->start_ticks = target->start_ticks;
	for (size_t i = 0; r == 0 && rule_set_next(mask, &i); i++)
		r = breach_new(&t->rules->v[i], &w->breaches[i]);
	if (r == 0)
		r = sampler_add(t->sampler, w->pid, w->start_ticks);
	if (r < 0)
		free_watched(t, w);
	else
		*out = w;
	return r;
}

int thresholds_watch(struct thresholds *t, const struct target *target)
{
	uint64_t mask = target->rules & rule_set_sampling(t->rules);
	struct watched *w = find_pid(t, target->pid);
	int r;

	/* Whatever had that id, another process or another image of this one, is over. */
	if (w)
		forget(t, w);
	if (!mask)
		return 0;
	r = make_watched(t, target, mask, &w);
	if (r < 0)
		return r;
	if (!tsearch(w, &t->by_pid, compare_pids)) {
		sampler_remove(t->sampler, w->pid, w->start_ticks);
		free_watched(t, w);
		return -ENOMEM;
	}
	w->next = t->head;
	w->at = &t->head;
	if (t->head)
		t->head->at = &w->next;
	t->head = w;
	t->watched_count++;
	return 0;
}

void thresholds_forget(struct thresholds *t, pid_t pid, uint64_t start_ticks)
{
	struct watched *w = find(t, pid, start_ticks);

	if (w)
		forget(t, w);
}

void thresholds_restart(struct thresholds *t, pid_t pid, uint64_t start_ticks, size_t rule)
{
	struct watched *w = find(t, pid, start_ticks);

	if (!w || !w->breaches[rule])
		return;
	breach_restart(w->breaches[rule]);
	if (w->rest_turn != t->turns)
		w->resting = 0;
	w->rest_turn = t->turns;
	w->resting |= 1ULL << rule;
}

static uint64_t take_due(struct thresholds *t)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC), mask = rule_set_sampling(t->rules), due = 0;

	for (size_t i = 0; rule_set_next(mask, &i); i++) {
		uint64_t interval = interval_of(&t->rules->v[i]);

		if (now + EARLY_NS < t->due[i])
			continue;
		due |= 1ULL << i;
		t->due[i] += interval;
		if (t->due[i] <= now) /* the first, or passes were missed */
			t->due[i] = now + interval;
	}
	return due;
}

static bool needs_fds(const struct rule *r)
{
	return r->armed & (1U << CONDITION_FDS);
}

static bool needs_quota(const struct rule *r)
{
	return r->cpu_base == CPU_BASE_QUOTA &&
	       (r->armed & (1U << CONDITION_CPU | 1U << CONDITION_CPU_BELOW));
}

static bool needs_memory_limit(const struct rule *r)
{
	return ((r->armed & (1U << CONDITION_MEMORY)) && r->conditions[CONDITION_MEMORY].percent) ||
	       ((r->armed & (1U << CONDITION_MEMORY_BELOW)) &&
		       r->conditions[CONDITION_MEMORY_BELOW].percent);
}

/* What the iterator does not see, for the rules that look at it. */
static void read_more(
	const struct thresholds *t, const struct watched *w, uint64_t rules, struct measure *m)
{
	_cleanup_process_ struct process process = PROCESS_NONE;
	bool fds = false, quota = false, limit = false;

	for (size_t i = 0; rule_set_next(rules, &i); i++) {
		if (!w->breaches[i])
			continue;
		fds |= needs_fds(&t->rules->v[i]);
		quota |= needs_quota(&t->rules->v[i]);
		limit |= needs_memory_limit(&t->rules->v[i]);
	}
	if ((!fds && !quota && !limit) || process_open(w->pid, &process) < 0 ||
		process.start_ticks != w->start_ticks)
		return;
	if (fds)
		m->fds = usage_read_fds(process.procfd);
	if (quota)
		m->quota_ns = usage_read_quota(process.procfd);
	if (limit)
		m->memory_limit = usage_read_memory_limit(process.procfd);
}

static void add_trip(struct thresholds *t, size_t rule, const struct measure *m,
	const struct breach_reading *reading)
{
	if (t->trip_count == t->trip_room) {
		size_t room = t->trip_room ? t->trip_room * 2 : 16;
		struct threshold_trip *bigger = reallocarray(t->trips, room, sizeof(*bigger));

		if (!bigger) {
			log_error("event=trip pid=%d errno=%d", m->sample.pid, ENOMEM);
			return;
		}
		t->trips = bigger;
		t->trip_room = room;
	}
	t->trips[t->trip_count++] =
		(struct threshold_trip){.rule = rule, .measure = *m, .reading = *reading};
}

/* Past a CPU threshold now; or was so within the window of which only a part has to be. */
static bool is_burning(const struct watched *w, const struct rule *rule, size_t i)
{
	const struct breach_reading *last;

	if (!w->breaches[i])
		return false;
	last = breach_last(w->breaches[i]);
	if (w->burner && rule->window_ns && last->held_ns)
		return true;
	return last->phase != BREACH_ARMED && (last->met & 1U << CONDITION_CPU);
}

/* Not at the trip itself, which ends the sampling. */
static bool wants_stacks(const struct thresholds *t, const struct watched *w, size_t i)
{
	const struct rule *rule = &t->rules->v[i];
	struct clock_pair now = clock_pair_now();

	return breach_last(w->breaches[i])->phase != BREACH_TRIPPED && !rule->observe &&
	       rule->what.kind != CORE_NONE && !rule_is_spent(rule, t->ledger, &now);
}

/* A rule that trips at the first look past its threshold (passes may be late, so that may be for
 * several intervals) wants to know what was before it: a look at the threads each time, which only
 * a few processes are worth. */
static bool needs_look_ahead(const struct thresholds *t, const struct watched *w)
{
	if (t->watched_count > LOOKED_AHEAD_MAX)
		return false;
	for (size_t i = 0; rule_set_next(t->cpu_rules, &i); i++)
		if (w->breaches[i] &&
			t->rules->v[i].for_ns <= LATE_INTERVALS * interval_of(&t->rules->v[i]))
			return true;
	return false;
}

/* Who burns it is looked for while it lasts, and begun anew once a capture has it. */
static void follow_burner(struct thresholds *t, struct watched *w, const struct sample *sample)
{
	bool burning = false, stacks = false;

	for (size_t i = 0; rule_set_next(t->cpu_rules, &i); i++)
		if (is_burning(w, &t->rules->v[i], i)) {
			burning = true;
			stacks = stacks || wants_stacks(t, w, i);
		}
	if (w->burner && (!burning || profiling_is_taken(blame_stacks(w->burner)))) {
		blame_end(t->blame, w->burner);
		w->burner = NULL;
	}
	if (!w->burner && (burning || needs_look_ahead(t, w)))
		w->burner = blame_begin(t->blame, sample);
	if (stacks && w->burner)
		blame_sample_stacks(t->blame, w->burner, sample);
}

static void judge(struct thresholds *t, const struct sample *sample, uint64_t rules)
{
	struct watched *w = find(t, sample->pid, sample->start_ticks);
	struct measure m = t->machine;

	if (!w)
		return;
	w->missed = 0;
	w->pass = t->passes;
	if (w->rest_turn == t->turns)
		rules &= ~w->resting;
	m.sample = *sample;
	read_more(t, w, rules, &m);
	for (size_t i = 0; rule_set_next(rules, &i); i++) {
		struct breach_reading reading;

		if (!w->breaches[i])
			continue;
		breach_feed(w->breaches[i], &m, &reading);
		if (reading.phase == BREACH_TRIPPED)
			add_trip(t, i, &m, &reading);
	}
	follow_burner(t, w, &m.sample);
}

static void forget_gone(struct thresholds *t)
{
	for (struct watched *w = t->head, *next; w; w = next) {
		next = w->next;
		if (w->pass != t->passes && ++w->missed >= GONE_PASSES)
			forget(t, w);
	}
}

static bool pass(struct thresholds *t)
{
	const struct sample *samples;
	uint64_t ticks, due;
	size_t n;
	int r;

	blame_poll(t->blame);
	if (read(t->timerfd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return false;
	due = take_due(t);
	if (!due)
		return false;
	t->trip_count = t->trip_next = 0;
	r = sampler_read(t->sampler, &samples, &n);
	if (r < 0) {
		log_error("event=sample errno=%d", -r);
		return false;
	}
	t->passes++;
	for (size_t i = 0; i < n; i++)
		judge(t, &samples[i], due);
	forget_gone(t);
	return true;
}

bool thresholds_pass(struct thresholds *t)
{
	bool passed = pass(t);

	t->turns++;
	return passed;
}

bool thresholds_next(struct thresholds *t, struct threshold_trip *out)
{
	if (t->trip_next == t->trip_count)
		return false;
	*out = t->trips[t->trip_next++];
	return true;
}

int thresholds_blame(const struct thresholds *t, const struct sample *sample, json_t *trigger,
	pid_t *tid, struct profiling **stacks)
{
	const struct watched *w = find(t, sample->pid, sample->start_ticks);

	*tid = 0;
	*stacks = NULL;
	if (!w || !w->burner || !json_object_get(trigger, "cpu"))
		return 0;
	*stacks = blame_stacks(w->burner);
	return blame_name(t->blame, w->burner, sample, trigger, tid);
}

const struct breach_reading *thresholds_reading(
	const struct thresholds *t, pid_t pid, uint64_t start_ticks, size_t rule)
{
	const struct watched *w = find(t, pid, start_ticks);

	return w && w->breaches[rule] ? breach_last(w->breaches[rule]) : NULL;
}
