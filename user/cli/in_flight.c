/* SPDX-License-Identifier: MIT */
#include "cli/in_flight.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/in_flight_holder.h"
#include "cli/in_flight_plan.h"
#include "cli/in_flight_queue.h"
#include "cli/in_flight_settled.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "rules/unread.h"
#include "target/go.h"

/* What the ring of answers holds at most is taken in one go, so that all of an earlier pass are. */
#define ANSWERS_AT_ONCE 8192
#define EARLY_NS	(5 * NSEC_PER_MSEC) /* by which a timer's tick may come early */

struct served {
	struct served *next;
	pid_t pid;
	uint64_t start_ticks;
	uint64_t rules;	  /* of those that look at sockets */
	uint64_t tripped; /* since the last scan: others are folded */
	uint64_t busy;	  /* captures are under way: until the end of the pass */
	uint64_t blind;	  /* it was said that no path is seen */
	bool asked_go, is_go;
	uint64_t folded[RULE_SET_MAX];
	struct request_state *requests[RULE_SET_MAX];
	struct unread_state *unread;	     /* NULL: no rule asks */
	uint64_t unread_since[RULE_SET_MAX]; /* CLOCK_BOOTTIME: what lay there before is told */
	struct unread *sockets;		     /* of the last look */
};

struct in_flight {
	const struct targets *targets;
	struct requests *requests;
	int epollfd, timerfd;
	struct in_flight_plan plan;
	uint64_t unread_due_ns; /* CLOCK_BOOTTIME */
	struct served *head;
	void *by_pid; /* the same, for tsearch(3) */
	struct in_flight_waiting waiting;
	struct in_flight_settled settled;
	struct in_flight_queue queue;
};

static const struct rule *rule_of(const struct in_flight *f, size_t i)
{
	return &f->targets->rules->v[i];
}

/* ---- opening ---- */

static int open_timer(struct in_flight *f)
{
	const struct itimerspec every = {
		.it_value.tv_nsec = 1, .it_interval.tv_nsec = (long)f->plan.interval_ns};

	f->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (f->timerfd < 0 || timerfd_settime(f->timerfd, 0, &every, NULL) < 0)
		return -errno;
	return 0;
}

static int open_poll(struct in_flight *f)
{
	const int fds[] = {f->timerfd, requests_fd(f->requests)};

	f->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (f->epollfd < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		struct epoll_event interest = {.events = EPOLLIN};

		if (epoll_ctl(f->epollfd, EPOLL_CTL_ADD, fds[i], &interest) < 0)
			return -errno;
	}
	return 0;
}

int in_flight_open(const struct targets *targets, struct in_flight **out)
{
	struct in_flight *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->targets = targets;
	f->epollfd = f->timerfd = -1;
	in_flight_plan(targets->rules, &f->plan);
	f->plan.options.probe = targets->probe;
	r = requests_open(&f->plan.options, &f->requests);
	r = r < 0 ? r : open_timer(f);
	r = r < 0 ? r : open_poll(f);
	if (r < 0)
		in_flight_close(f);
	else
		*out = f;
	return r;
}

/* ---- who is watched ---- */

static int compare_pids(const void *a, const void *b)
{
	pid_t left = ((const struct served *)a)->pid, right = ((const struct served *)b)->pid;

	return (left > right) - (left < right);
}

static struct served *find_pid(const struct in_flight *f, pid_t pid)
{
	struct served **found = tfind(&(struct served){.pid = pid}, &f->by_pid, compare_pids);

	return found ? *found : NULL;
}

static struct served *find(const struct in_flight *f, pid_t pid, uint64_t start_ticks)
{
	struct served *s = find_pid(f, pid);

	return s && s->start_ticks == start_ticks ? s : NULL;
}

static void free_served(struct served *s)
{
	for (size_t i = 0; i < RULE_SET_MAX; i++)
		request_state_free(s->requests[i]);
	unread_state_free(s->unread);
	free(s->sockets);
	free(s);
}

static void forget(struct in_flight *f, struct served **at)
{
	struct served *s = *at;

	tdelete(s, &f->by_pid, compare_pids);
	*at = s->next;
	free_served(s);
}

void in_flight_close(struct in_flight *f)
{
	if (!f)
		return;
	while (f->head)
		forget(f, &f->head);
	requests_close(f->requests);
	cleanup_close(&f->timerfd);
	cleanup_close(&f->epollfd);
	in_flight_waiting_free(&f->waiting);
	in_flight_settled_free(&f->settled);
	in_flight_queue_free(&f->queue);
	free(f);
}

int in_flight_fd(const struct in_flight *f)
{
	return f->epollfd;
}

static int make_served(struct in_flight *f, const struct target *target, struct served **out)
{
	struct served *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->pid = target->pid;
	s->start_ticks = target->start_ticks;
	s->rules = target->rules & rule_set_serving(f->targets->rules);
	for (size_t i = 0; r == 0 && rule_set_next(s->rules, &i); i++) {
		if (rule_wants_requests(rule_of(f, i)))
			r = request_state_new(&rule_of(f, i)->request, &s->requests[i]);
		if (r == 0 && rule_of(f, i)->unread_ns && !s->unread)
			r = unread_state_new(&s->unread);
	}
	if (r < 0)
		free_served(s);
	else
		*out = s;
	return r;
}

/* Reads the whole executable, so once, and of any process at all only when it is slow. */
static void ask_go(struct in_flight *f, struct served *s)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	_cleanup_close_ int taskfd = -1;
	uint32_t offset;

	s->asked_go = true;
	if (process_open(s->pid, &p) < 0 || p.start_ticks != s->start_ticks)
		return;
	taskfd = process_open_live_task(&p, NULL);
	if (taskfd < 0 || go_read_goid_offset(taskfd, &offset) < 0)
		return;
	s->is_go = true;
	if (requests_add_go(f->requests, s->pid, offset) < 0)
		log_debug("event=go pid=%d", s->pid);
}

static bool is_picked(const struct in_flight *f, const struct served *s)
{
	for (size_t i = 0; rule_set_next(s->rules, &i); i++)
		if (!rule_of(f, i)->who.all && s->requests[i])
			return true;
	return false;
}

int in_flight_watch(struct in_flight *f, const struct target *target)
{
	struct served *s = find_pid(f, target->pid), **at = &f->head;
	int r;

	if (s) { /* another process had that id, or another image of this one */
		while (*at != s)
			at = &(*at)->next;
		forget(f, at);
	}
	if (!(target->rules & rule_set_serving(f->targets->rules)))
		return 0;
	r = make_served(f, target, &s);
	if (r < 0)
		return r;
	if (!tsearch(s, &f->by_pid, compare_pids)) {
		free_served(s);
		return -ENOMEM;
	}
	s->next = f->head;
	f->head = s;
	if (is_picked(f, s))
		ask_go(f, s);
	return 0;
}

void in_flight_restart(struct in_flight *f, pid_t pid, uint64_t start_ticks, size_t rule)
{
	struct served *s = find(f, pid, start_ticks);

	if (!s)
		return;
	s->busy |= 1ULL << rule;
	s->unread_since[rule] = clock_now_ns(CLOCK_BOOTTIME);
	if (s->requests[rule])
		request_state_restart(s->requests[rule]);
}

/* ---- trips ---- */

/* Room for a trip of that rule; NULL: it is one of those that are folded. */
static struct in_flight_trip *begin_trip(
	struct in_flight *f, struct served *s, size_t rule, enum trip_kind kind, uint64_t *folded)
{
	struct in_flight_trip *trip = NULL;
	uint64_t bit = 1ULL << rule;

	if (!((s->busy | s->tripped) & bit))
		trip = in_flight_queue_add(&f->queue);
	if (!trip) {
		s->folded[rule]++;
		return NULL;
	}
	s->tripped |= bit;
	*trip = (struct in_flight_trip){
		.rule = rule, .pid = s->pid, .start_ticks = s->start_ticks, .kind = kind};
	*folded = s->folded[rule];
	s->folded[rule] = 0;
	return trip;
}

static void add_request(struct in_flight *f, struct served *s, size_t rule, enum request_trip why,
	const struct request *request)
{
	uint64_t folded;
	struct in_flight_trip *trip = begin_trip(f, s, rule, TRIP_REQUEST, &folded);

	if (!trip)
		return;
	trip->request = (struct request_report){
		.why = why, .request = *request, .wait = {.call = -1}, .folded = folded};
	if (request->answered)
		return;
	in_flight_find_peers(f->requests, rule_of(f, rule)->request.slow_ns / 2, &trip->request);
	in_flight_find_holder(f->requests, s->start_ticks, s->is_go, &trip->request);
	if (trip->request.holder == HOLDER_THREAD)
		trip->tid = request->tid;
}

static void check_paths(struct in_flight *f, struct served *s, size_t rule, const struct request *r)
{
	const struct request_rule *wants = &rule_of(f, rule)->request;
	const struct in_flight_blind blind = {rule, s->pid, s->start_ticks, r->protocol};

	if (!wants->paths.n || r->protocol == REQUEST_HTTP || (s->blind >> rule & 1))
		return;
	s->blind |= 1ULL << rule;
	in_flight_queue_add_blind(&f->queue, &blind);
}

static void take_answer(struct in_flight *f, const struct request *answer)
{
	struct served *s = find(f, answer->pid, answer->start_ticks);
	uint64_t now = clock_now_ns(CLOCK_BOOTTIME);

	for (size_t i = 0; s && rule_set_next(s->rules, &i); i++) {
		enum request_trip why;

		if (!s->requests[i])
			continue;
		check_paths(f, s, i, answer);
		why = request_state_answer(s->requests[i], answer, now);
		if (why != REQUEST_TRIP_NONE)
			add_request(f, s, i, why, answer);
	}
}

static void take_answers(struct in_flight *f)
{
	struct request answer;
	int r = 0;

	for (int i = 0; i < ANSWERS_AT_ONCE; i++) {
		r = requests_next(f->requests, &answer);
		if (r != 1)
			break;
		take_answer(f, &answer);
	}
	if (r < 0)
		log_error("event=requests errno=%d", -r);
}

/* ---- a scan ---- */

/* Of what waits: that of processes that are watched, and for nobody but them. */
static int keep_waiting(struct in_flight *f, const struct request *found, size_t n)
{
	int r = in_flight_settled_begin(&f->settled, n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct served *s = find(f, found[i].pid, found[i].start_ticks);

		if (!s)
			continue;
		if (!s->asked_go)
			ask_go(f, s);
		if (in_flight_settled_tells(&f->settled, &found[i]))
			f->waiting.v[f->waiting.n++] = found[i];
	}
	in_flight_settled_end(&f->settled);
	in_flight_waiting_sort(&f->waiting);
	return r;
}

static int scan(struct in_flight *f)
{
	const struct request *found;
	size_t n;
	int r = requests_scan(f->requests, &found, &n);

	if (r < 0)
		n = 0;
	if (in_flight_waiting_init(&f->waiting, n) < 0)
		return -ENOMEM;
	return r < 0 ? r : keep_waiting(f, found, n);
}

static void judge_requests(struct in_flight *f, struct served *s, uint64_t now_ns)
{
	size_t n;
	const struct request *mine = in_flight_waiting_of(&f->waiting, s->pid, &n), *culprit;
	uint64_t answered = 0;

	if (f->plan.options.count_answers && requests_answered(f->requests, s->pid, &answered) < 0)
		answered = 0;
	for (size_t i = 0; rule_set_next(s->rules, &i); i++) {
		enum request_trip why;
		int r;

		if (!s->requests[i])
			continue;
		for (size_t k = 0; k < n; k++)
			if (mine[k].age_ns >= rule_of(f, i)->request.slow_ns)
				check_paths(f, s, i, &mine[k]);
		r = request_state_pass(s->requests[i], mine, n, answered, now_ns, &why, &culprit);
		if (r < 0)
			log_error("event=requests pid=%d errno=%d", s->pid, -r);
		else if (why != REQUEST_TRIP_NONE && culprit)
			add_request(f, s, i, why, culprit);
	}
}

static void judge_unread(struct in_flight *f, struct served *s, uint64_t now_ns)
{
	const struct unread *worst = NULL;
	uint64_t held, since, folded;
	size_t n = 0;
	int r;

	free(s->sockets);
	s->sockets = NULL;
	r = requests_unread(f->requests, s->pid, &s->sockets, &n);
	if (r == 0)
		r = unread_state_pass(s->unread, s->sockets, n, now_ns, &worst, &held);
	if (r < 0 && r != -ESRCH)
		log_error("event=unread pid=%d errno=%d", s->pid, -r);
	for (size_t i = 0; worst && rule_set_next(s->rules, &i); i++) {
		struct in_flight_trip *trip = NULL;

		since = now_ns - s->unread_since[i];
		if (!rule_of(f, i)->unread_ns || held < rule_of(f, i)->unread_ns ||
			since < rule_of(f, i)->unread_ns)
			continue;
		trip = begin_trip(f, s, i, TRIP_UNREAD, &folded);
		s->unread_since[i] = now_ns;
		if (trip)
			trip->unread = (struct unread_report){*worst, held, folded};
	}
}

static void judge(struct in_flight *f)
{
	uint64_t now = clock_now_ns(CLOCK_BOOTTIME);
	bool unread = f->plan.unread_interval_ns && now >= f->unread_due_ns;

	if (unread)
		f->unread_due_ns = now + f->plan.unread_interval_ns - EARLY_NS;
	for (struct served **at = &f->head; *at;) {
		struct served *s = *at;

		if (!targets_get(f->targets, s->pid, s->start_ticks)) {
			forget(f, at);
			continue;
		}
		s->tripped = 0;
		judge_requests(f, s, now);
		if (unread && s->unread)
			judge_unread(f, s, now);
		at = &s->next;
	}
}

void in_flight_pass(struct in_flight *f)
{
	uint64_t ticks;
	int r;

	in_flight_queue_clear(&f->queue);
	take_answers(f);
	if (read(f->timerfd, &ticks, sizeof(ticks)) == sizeof(ticks)) {
		r = f->plan.scans ? scan(f) : 0;
		if (r < 0)
			log_error("event=requests errno=%d", -r);
		else
			judge(f);
	}
	for (struct served *s = f->head; s; s = s->next)
		s->busy = 0;
}

bool in_flight_next(struct in_flight *f, struct in_flight_trip *out)
{
	return in_flight_queue_next(&f->queue, out);
}

bool in_flight_next_blind(struct in_flight *f, struct in_flight_blind *out)
{
	return in_flight_queue_next_blind(&f->queue, out);
}

uint64_t in_flight_points(const struct in_flight *f, pid_t pid, uint64_t start_ticks, size_t rule)
{
	const struct served *s = find(f, pid, start_ticks);
	const struct request_state *state = s ? s->requests[rule] : NULL;

	return state ? request_state_points(state, clock_now_ns(CLOCK_BOOTTIME)) : 0;
}

int in_flight_losses(struct in_flight *f, struct probe_loss out[PROBE_LOSSES_MAX])
{
	return requests_losses(f->requests, out);
}
