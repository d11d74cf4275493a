/* SPDX-License-Identifier: MIT */
#include "cli/stalls.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/room.h"
#include "cli/stall_probe.h"
#include "cli/stall_process.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "target/cgroup.h"

#define LOOKS_A_SECOND 200 /* at threads, whether they are loops */
#define LOOKS_MIN      2   /* at one process: it is opened as well */

_Static_assert(STALL_ROUNDS == RETURNS_TOLD, "both clear a suspect");

struct stalls {
	const struct targets *targets;
	struct returns *returns; /* NULL: there are no probes */
	int returns_error;
	int epollfd, timerfd;
	uint64_t interval_ns, rest_ns;
	struct stall_process *head, *turn; /* TURN is the next to be looked over */
	void *by_pid;			   /* the same, for tsearch(3) */
	struct stall_trip *trips;
	size_t trip_count, trip_room, trip_next;
	struct stall_loss *losses;
	size_t loss_count, loss_room, loss_next;
};

static const struct rule *rule_of(const struct stalls *s, size_t i)
{
	return &s->targets->rules->v[i];
}

/* ---- opening ---- */

static int open_poll(struct stalls *s)
{
	const struct itimerspec every = {
		.it_value.tv_nsec = 1, .it_interval.tv_nsec = (long)s->interval_ns};
	const int fds[] = {s->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
		s->returns ? returns_fd(s->returns) : -1};

	s->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epollfd < 0 || s->timerfd < 0 || timerfd_settime(s->timerfd, 0, &every, NULL) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		struct epoll_event interest = {.events = EPOLLIN};

		if (fds[i] >= 0 && epoll_ctl(s->epollfd, EPOLL_CTL_ADD, fds[i], &interest) < 0)
			return -errno;
	}
	return 0;
}

static void plan(struct stalls *s)
{
	uint64_t mask = rule_set_stalling(s->targets->rules), shortest = UINT64_MAX;

	for (size_t i = 0; rule_set_next(mask, &i); i++)
		if (rule_of(s, i)->stall_ns < shortest)
			shortest = rule_of(s, i)->stall_ns;
	stall_pace(shortest, &s->interval_ns, &s->rest_ns);
}

int stalls_open(const struct targets *targets, struct stalls **out)
{
	struct stalls *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->targets = targets;
	s->epollfd = s->timerfd = -1;
	plan(s);
	s->returns_error = returns_open(&s->returns); /* without it a part is seen all the same */
	r = open_poll(s);
	if (r < 0)
		stalls_close(s);
	else
		*out = s;
	return r;
}

/* ---- who is watched ---- */

static int compare_pids(const void *a, const void *b)
{
	pid_t left = ((const struct stall_process *)a)->pid,
	      right = ((const struct stall_process *)b)->pid;

	return (left > right) - (left < right);
}

static struct stall_process *find_pid(const struct stalls *s, pid_t pid)
{
	struct stall_process **found =
		tfind(&(struct stall_process){.pid = pid}, &s->by_pid, compare_pids);

	return found ? *found : NULL;
}

static void forget(struct stalls *s, struct stall_process **at)
{
	struct stall_process *p = *at;

	if (s->turn == p)
		s->turn = NULL;
	if (s->returns)
		stall_probe_disarm_all(s->returns, p);
	tdelete(p, &s->by_pid, compare_pids);
	*at = p->next;
	stall_process_free(p);
}

static void clear_trips(struct stalls *s)
{
	for (size_t i = 0; i < s->trip_count; i++)
		free(s->trips[i].report.stack);
	s->trip_count = s->trip_next = 0;
	s->loss_count = s->loss_next = 0;
}

void stalls_close(struct stalls *s)
{
	if (!s)
		return;
	while (s->head)
		forget(s, &s->head);
	returns_close(s->returns);
	cleanup_close(&s->timerfd);
	cleanup_close(&s->epollfd);
	clear_trips(s);
	free(s->trips);
	free(s->losses);
	free(s);
}

int stalls_fd(const struct stalls *s)
{
	return s->epollfd;
}

int stalls_watch(struct stalls *s, const struct target *target)
{
	uint64_t rules = target->rules & rule_set_stalling(s->targets->rules);
	struct stall_process *p = find_pid(s, target->pid), **at = &s->head;
	int r;

	if (p) { /* another process had that id, or another image of this one */
		while (*at != p)
			at = &(*at)->next;
		forget(s, at);
	}
	if (!rules)
		return 0;
	r = stall_process_new(target, rules, &p);
	if (r < 0)
		return r;
	if (!tsearch(p, &s->by_pid, compare_pids)) {
		stall_process_free(p);
		return -ENOMEM;
	}
	p->next = s->head;
	s->head = p;
	return 0;
}

void stalls_restart(struct stalls *s, pid_t pid, uint64_t start_ticks)
{
	struct stall_process *p = find_pid(s, pid);

	if (p && p->start_ticks == start_ticks)
		p->busy = true;
}

/* ---- probes ---- */

static void add_loss(
	struct stalls *s, const struct stall_process *p, const char *reason, const char *detail)
{
	void *v = s->losses;

	if (room_for_one(&v, s->loss_count, &s->loss_room, sizeof(*s->losses)))
		((struct stall_loss *)v)[s->loss_count++] =
			(struct stall_loss){p->pid, p->start_ticks, reason, detail};
	s->losses = v;
}

/* From now on only what sleeps is known not to go round. */
static void give_up(
	struct stalls *s, struct stall_process *p, const char *reason, const char *detail)
{
	p->unprobed = true;
	if (s->returns)
		stall_probe_disarm_all(s->returns, p);
	add_loss(s, p, reason, detail);
}

static void refuse(struct stalls *s, struct stall_process *p, int error)
{
	if (error == -ESRCH) /* it is ending: that is told elsewhere */
		return;
	log_debug("event=stall pid=%d errno=%d", p->pid, -error);
	give_up(s, p, "no-probe",
		error == -E2BIG
			? "its loops wait in too many places to be probed: of one that runs it is "
			  "not known whether it stalls"
			: "no probe can be put behind its loops' wait: of one that runs it is not "
			  "known whether it stalls");
}

static void arm(struct stalls *s, struct stall_process *p, struct stall_thread *t)
{
	int r = s->returns ? 0 : s->returns_error;

	if (p->places_full)
		r = -E2BIG;
	if (r == 0)
		r = stall_probe_arm(s->returns, p, t);
	if (r < 0 && r != -EAGAIN)
		refuse(s, p, r);
}

static void judge_probe(struct stalls *s, struct stall_process *p, struct stall_thread *t)
{
	uint64_t now = t->sample.time_ns;

	if (t->suspect && stall_is_cleared(&t->state, p->rules)) {
		if (t->state.outside) /* it costs something, and told what there was to tell */
			t->rest_ns = now + s->rest_ns;
		stall_probe_disarm(s->returns, p, t);
	}
	if (stall_wants_probe(&t->state, p->rules) && !t->suspect && !p->unprobed && !p->busy &&
		now >= t->rest_ns)
		arm(s, p, t);
}

/* Those that go round without a doubt. */
static void clear_suspects(struct stalls *s, struct stall_process *p)
{
	uint64_t rounds, last_ns;

	for (size_t i = 0; i < p->n; i++) {
		struct stall_thread *t = &p->v[i];

		stall_probe_read(s->returns, t, &rounds, &last_ns);
		if (rounds < STALL_ROUNDS)
			continue;
		t->rest_ns = clock_now_ns(CLOCK_MONOTONIC) + s->rest_ns;
		t->state.told = 0;
		stall_probe_disarm(s->returns, p, t);
	}
}

/* Where it is the suspects themselves that go round, no harm is done by asking again later. */
static void check_rate(struct stalls *s, struct stall_process *p)
{
	if (!p->armed || !returns_is_over(s->returns, p->pid))
		return;
	clear_suspects(s, p);
	if (p->armed)
		give_up(s, p, "probe-rate",
			"the probe behind its loops' wait fired more than 10,000 times in a "
			"second, and was taken off: of one that runs it is not known whether it "
			"stalls");
}

/* ---- trips ---- */

static void add_trip(struct stalls *s, struct stall_process *p, struct stall_thread *t, size_t rule)
{
	struct stall_trip *trip;
	void *v = s->trips;
	bool has_room = room_for_one(&v, s->trip_count, &s->trip_room, sizeof(*s->trips));

	s->trips = v;
	if (!has_room)
		return;
	trip = &s->trips[s->trip_count++];
	*trip = (struct stall_trip){.rule = rule,
		.pid = p->pid,
		.start_ticks = p->start_ticks,
		.report = {.tid = t->tid,
			.age_ns = stall_age(&t->state),
			.loop = t->call,
			.wait = t->wait}};
	if (!t->wait.runs && wait_read_stack(p->process.procfd, t->tid, &trip->report.stack) < 0)
		trip->report.stack = NULL;
}

/* Looked at closely, since a limit has passed. */
static bool is_stalled(const struct stalls *s, struct stall_process *p, struct stall_thread *t)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

	if (wait_read(p->process.procfd, t->tid, &t->wait) < 0)
		return false;
	if (!t->wait.runs && cgroup_frozen(CGROUP_ROOT, p->process.procfd)) {
		stall_restart(&t->state, now);
		return false;
	}
	if (t->state.armed_ns && !returns_holds(s->returns))
		return false;
	return !stall_process_waits(t) && !stall_process_is_served(p, t);
}

static void judge(struct stalls *s, struct stall_process *p, struct stall_thread *t)
{
	bool stalled = false, tripped = false;

	for (size_t i = 0; rule_set_next(p->rules, &i); i++) {
		struct stall would = t->state;

		if (!stall_trips(&would, (unsigned int)i, rule_of(s, i)->stall_ns))
			continue;
		stalled = stalled || is_stalled(s, p, t);
		if (!stalled)
			return;
		tripped |= stall_trips(&t->state, (unsigned int)i, rule_of(s, i)->stall_ns);
		add_trip(s, p, t, i);
	}
	if (tripped && s->returns) /* none is to be in the core */
		stall_probe_disarm_all(s->returns, p);
}

static void pass_thread(struct stalls *s, struct stall_process *p, struct stall_thread *t)
{
	uint64_t rounds = 0, last_ns = 0;

	if (p->busy) {
		stall_restart(&t->state, t->sample.time_ns);
		return;
	}
	if (s->returns)
		stall_probe_read(s->returns, t, &rounds, &last_ns);
	stall_see(&t->state, &t->sample, rounds, last_ns);
	judge_probe(s, p, t);
	judge(s, p, t);
}

static void pass_process(struct stalls *s, struct stall_process *p)
{
	if (p->starved && !p->said_starved)
		add_loss(s, p, "no-descriptors",
			"more files were open than may be: some of its loops are not watched");
	p->said_starved |= p->starved;
	if (p->busy && s->returns)
		stall_probe_disarm_all(s->returns, p);
	stall_process_sample(p);
	if (s->returns)
		stall_probe_check(s->returns, p);
	check_rate(s, p); /* behind the samples: until then every round was told */
	for (size_t i = p->n; i-- > 0;) {
		struct stall_thread *t = &p->v[i];

		if (t->gone) {
			if (s->returns)
				stall_probe_disarm(s->returns, p, t);
			stall_process_drop(p, t);
		} else if (t->fd >= 0) {
			pass_thread(s, p, t);
		}
	}
}

/* In turn, so that one with many threads is looked over in several passes. */
static void look(struct stalls *s, uint64_t now_ns)
{
	size_t left = LOOKS_MIN + LOOKS_A_SECOND * s->interval_ns / NSEC_PER_SEC;
	struct stall_process *first = s->turn ? s->turn : s->head, *p = first;

	while (p && left >= LOOKS_MIN) {
		left -= stall_process_look(p, now_ns, left);
		if (left < LOOKS_MIN)
			break;
		p = p->next ? p->next : s->head;
		if (p == first)
			break;
	}
	s->turn = p;
}

static void pass_all(struct stalls *s)
{
	look(s, clock_now_ns(CLOCK_MONOTONIC));
	for (struct stall_process **at = &s->head; *at;) {
		struct stall_process *p = *at;

		if (!targets_get(s->targets, p->pid, p->start_ticks)) {
			forget(s, at);
			continue;
		}
		pass_process(s, p);
		at = &p->next;
	}
}

/* A probe that fires all the time is taken off at once. */
static void clear_all(struct stalls *s)
{
	for (struct stall_process *p = s->head; p; p = p->next) {
		check_rate(s, p);
		clear_suspects(s, p);
	}
}

static void lose_probes(struct stalls *s)
{
	log_warn("event=stall error=\"the process that holds the probes was ended\"");
	for (struct stall_process *p = s->head; p; p = p->next) {
		if (!p->probes)
			continue;
		stall_probe_disarm_all(s->returns, p);
		add_loss(s, p, "probe-lost",
			"the process that held the probe was ended: a stall may be told late");
	}
}

static void take_answers(struct stalls *s)
{
	uint64_t id;
	int r, error;

	returns_clear(s->returns);
	while ((r = returns_answer(s->returns, &id, &error)) == 1) {
		struct stall_process *p = s->head;

		while (p && p->probes != id)
			p = p->next;
		if (!p) /* it was not waited for */
			continue;
		if (error == 0) {
			stall_probe_begin(p);
			continue;
		}
		stall_probe_disarm_all(s->returns, p);
		if (error == -ESTALE)
			stall_process_forget_places(p);
		else
			refuse(s, p, error);
	}
	if (r < 0)
		lose_probes(s);
}

void stalls_pass(struct stalls *s)
{
	uint64_t ticks;

	clear_trips(s);
	if (s->returns)
		take_answers(s);
	if (read(s->timerfd, &ticks, sizeof(ticks)) == sizeof(ticks))
		pass_all(s);
	else if (s->returns)
		clear_all(s);
	for (struct stall_process *p = s->head; p; p = p->next)
		p->busy = false;
}

bool stalls_next(struct stalls *s, struct stall_trip *out)
{
	if (s->trip_next == s->trip_count)
		return false;
	*out = s->trips[s->trip_next++];
	return true;
}

bool stalls_next_loss(struct stalls *s, struct stall_loss *out)
{
	if (s->loss_next == s->loss_count)
		return false;
	*out = s->losses[s->loss_next++];
	return true;
}
