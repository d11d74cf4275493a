/* SPDX-License-Identifier: MIT */
#include "cli/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/inside_parts.h"
#include "cli/room.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"

#define ASKED_MOST 100 /* calls of a function in a pass that are only counted */

struct inside {
	const struct targets *targets;
	struct functions *functions;
	struct inside_looks looks;
	int epollfd, timerfd;
	struct inside_process *head;
	struct inside_trip *trips; /* of the last pass */
	size_t trip_count, trip_next, trip_room;
	struct inside_notes notes;
	uint64_t given_up; /* calls, that are not told yet */
};

static const struct rule *rule_of(const struct inside *i, size_t rule)
{
	return &i->targets->rules->v[rule];
}

static uint64_t interval_ns(const struct rule_set *rules)
{
	uint64_t mask = rule_set_entering(rules), least = UINT64_MAX;

	for (size_t i = 0; rule_set_next(mask, &i); i++)
		for (size_t k = 0; k < rules->v[i].functions.n; k++) {
			uint64_t ns = function_interval_ns(rules->v[i].functions.v[k].limit_ns);

			least = ns < least ? ns : least;
		}
	return least;
}

static int open_poll(struct inside *i)
{
	uint64_t ns = interval_ns(i->targets->rules);
	const struct itimerspec every = {.it_value.tv_nsec = 1, .it_interval.tv_nsec = (long)ns};
	int fds[2];

	i->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (i->timerfd < 0 || timerfd_settime(i->timerfd, 0, &every, NULL) < 0)
		return -errno;
	i->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (i->epollfd < 0)
		return -errno;
	fds[0] = i->timerfd;
	fds[1] = functions_fd(i->functions);
	for (size_t k = 0; k < ARRAY_SIZE(fds); k++) {
		struct epoll_event interest = {.events = EPOLLIN};

		if (epoll_ctl(i->epollfd, EPOLL_CTL_ADD, fds[k], &interest) < 0)
			return -errno;
	}
	return 0;
}

int inside_open(const struct targets *targets, struct inside **out)
{
	struct inside *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return -ENOMEM;
	i->targets = targets;
	i->epollfd = i->timerfd = -1;
	r = functions_open(&i->functions);
	i->looks = (struct inside_looks){.functions = i->functions,
		.notes = &i->notes,
		.begun_ns = clock_now_ns(CLOCK_BOOTTIME)};
	r = r < 0 ? r : open_poll(i);
	if (r < 0)
		inside_close(i);
	else
		*out = i;
	return r;
}

/* ---- who is watched ---- */

static void free_process(struct inside *i, struct inside_process *p)
{
	inside_release(i->functions, p);
	free(p->functions);
	free(p);
}

static void forget(struct inside *i, struct inside_process **at)
{
	struct inside_process *p = *at;

	*at = p->next;
	i->looks.processes--;
	free_process(i, p);
}

static void clear_trips(struct inside *i)
{
	for (size_t k = 0; k < i->trip_count; k++)
		free(i->trips[k].report.stack);
	i->trip_count = i->trip_next = 0;
}

void inside_close(struct inside *i)
{
	if (!i)
		return;
	while (i->head)
		forget(i, &i->head);
	functions_close(i->functions);
	inside_looks_free(&i->looks);
	cleanup_close(&i->timerfd);
	cleanup_close(&i->epollfd);
	clear_trips(i);
	free(i->trips);
	free(i->notes.v);
	free(i);
}

int inside_fd(const struct inside *i)
{
	return i->epollfd;
}

static struct inside_process **find_pid(struct inside *i, pid_t pid)
{
	struct inside_process **at = &i->head;

	while (*at && (*at)->pid != pid)
		at = &(*at)->next;
	return at;
}

static bool is_named(const struct who *who, const struct inside_process *p)
{
	for (size_t k = 0; k < who->process_count; k++)
		if (who->processes[k].pid == p->pid &&
			who->processes[k].start_ticks == p->start_ticks)
			return true;
	return false;
}

static int add_functions(struct inside *i, struct inside_process *p)
{
	size_t count = 0;

	for (size_t k = 0; rule_set_next(p->rules, &k); k++)
		count += rule_of(i, k)->functions.n;
	p->functions = calloc(count ? count : 1, sizeof(*p->functions));
	if (!p->functions)
		return -ENOMEM;
	for (size_t k = 0; rule_set_next(p->rules, &k); k++)
		for (size_t n = 0; n < rule_of(i, k)->functions.n; n++)
			p->functions[p->function_count++] = (struct inside_function){.rule = k,
				.wish = &rule_of(i, k)->functions.v[n],
				.named = is_named(&rule_of(i, k)->who, p),
				.quiet = rule_of(i, k)->who.all};
	return 0;
}

/* What is told as a new image may be the one that is known: of two in a row the first is looked at
 * when the second is there. Then a call must not be missed because its probes are put on anew. What
 * is mapped tells. */
static void renew(struct inside *i, struct inside_process *p)
{
	p->begun_ns = clock_now_ns(CLOCK_BOOTTIME);
	p->looks = 0;
	p->asked_go = false;
	p->renewed = true;
	for (size_t k = 0; k < p->function_count; k++)
		p->functions[k].refused = p->functions[k].missed = p->functions[k].put_off = false;
	p->over = false;
	inside_look(&i->looks, p);
}

int inside_watch(struct inside *i, const struct target *target)
{
	uint64_t rules = target->rules & rule_set_entering(i->targets->rules);
	struct inside_process **old = find_pid(i, target->pid), *p;
	int r;

	if (*old && (*old)->start_ticks == target->start_ticks && (*old)->rules == rules) {
		renew(i, *old);
		return 0;
	}
	if (*old) /* another process had that id, or it has other rules now */
		forget(i, old);
	if (!rules)
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->pid = target->pid;
	p->start_ticks = target->start_ticks;
	p->rules = rules;
	p->begun_ns = clock_now_ns(CLOCK_BOOTTIME);
	r = add_functions(i, p);
	if (r < 0) {
		free_process(i, p);
		return r;
	}
	p->next = i->head;
	i->head = p;
	i->looks.processes++;
	inside_look(&i->looks, p);
	return 0;
}

void inside_restart(struct inside *i, pid_t pid, uint64_t start_ticks, size_t rule)
{
	struct inside_process *p = *find_pid(i, pid);

	if (p && p->start_ticks == start_ticks)
		p->busy |= 1ULL << rule;
}

/* ---- what is told ---- */

struct inside_note *inside_add_note(struct inside_notes *notes, const struct inside_process *p,
	const struct inside_function *f, const char *reason)
{
	void *v = notes->v;
	bool has_room = room_for_one(&v, notes->n, &notes->room, sizeof(*notes->v));

	notes->v = v;
	if (!has_room)
		return NULL;
	notes->v[notes->n] = (struct inside_note){.rule = f->rule,
		.pid = p->pid,
		.start_ticks = p->start_ticks,
		.function = f->wish->text,
		.reason = reason};
	return &notes->v[notes->n++];
}

bool inside_next_note(struct inside *i, struct inside_note *out)
{
	struct inside_notes *n = &i->notes;

	if (n->next == n->n) {
		n->next = n->n = 0;
		return false;
	}
	*out = n->v[n->next++];
	return true;
}

bool inside_next(struct inside *i, struct inside_trip *out)
{
	if (i->trip_next == i->trip_count)
		return false;
	*out = i->trips[i->trip_next++];
	return true;
}

/* ---- a pass ---- */

static void add_trip(struct inside *i, struct inside_process *p, struct inside_function *f,
	struct function_report *report)
{
	void *v = i->trips;
	bool has_room = room_for_one(&v, i->trip_count, &i->trip_room, sizeof(*i->trips));

	i->trips = v;
	if (!has_room) {
		free(report->stack);
		return;
	}
	report->function = f->wish->text;
	report->file = f->code->path;
	report->folded = p->folded[f->rule];
	p->folded[f->rule] = 0;
	i->trips[i->trip_count++] = (struct inside_trip){
		.rule = f->rule, .pid = p->pid, .start_ticks = p->start_ticks, .report = *report};
}

/* Those that have come to be too long; the first one, the oldest, is told, the others are counted.
 * A crowd of goroutines that all wait for one thing is not asked one by one. */
static void judge_function(struct inside *i, struct inside_process *p, struct inside_function *f,
	const struct function_call *calls, size_t n, uint64_t now)
{
	const uint64_t bit = 1ULL << f->rule;
	unsigned int asked = 0;

	for (size_t k = 0; k < n; k++) {
		const struct function_call *c = &calls[k];
		struct function_report report = {.age_ns = now - c->entered_ns};
		bool told = (p->busy | p->tripped) & bit;
		int r = 1;

		if (c->instance != f->code->watch.instance ||
			!function_is_due(f->wish->limit_ns, c->entered_ns, f->judged_ns, now))
			continue;
		if (!told || asked++ < ASKED_MOST)
			r = inside_look_at_call(p, f, c, told, &report);
		if (r == 0)
			functions_drop(i->functions, c);
		p->lost_holder |= r == -ESTALE;
		if (r < 0) { /* this one, and all that are younger, are due again */
			f->judged_ns = c->entered_ns + f->wish->limit_ns - 1;
			return;
		}
		if (r == 0)
			continue;
		if (told) {
			p->folded[f->rule]++;
			continue;
		}
		p->tripped |= bit;
		add_trip(i, p, f, &report);
	}
	f->judged_ns = now;
}

static void take_overruns(struct inside *i)
{
	pid_t pid;

	while (functions_next_overrun(i->functions, &pid) == 1) {
		struct inside_process *p = *find_pid(i, pid);

		if (!p || p->over)
			continue;
		p->over = true;
		for (size_t k = 0; k < p->function_count; k++) {
			struct inside_function *f = &p->functions[k];
			struct inside_note *n =
				f->code ? inside_add_note(&i->notes, p, f, "probe-rate") : NULL;

			if (n)
				snprintf(n->detail, sizeof(n->detail),
					"the process' probes fire more than %d times a second: "
					"they "
					"are taken off",
					FUNCTIONS_FIRINGS_MAX);
		}
		inside_release(i->functions, p);
	}
}

/* Not while the calls are gone through: what is taken off has its calls forgotten. */
static void renew_probes(struct inside *i)
{
	for (struct inside_process *p = i->head; p; p = p->next) {
		if (p->lost_holder)
			inside_look(&i->looks, p);
		p->lost_holder = false;
	}
}

static void judge(struct inside *i)
{
	const struct function_call *calls;
	uint64_t now = clock_now_ns(CLOCK_BOOTTIME);
	size_t n;
	int r = functions_scan(i->functions, &calls, &n);

	if (r < 0) {
		log_error("event=functions errno=%d", -r);
		return;
	}
	for (struct inside_process *p = i->head; p; p = p->next) {
		p->tripped = 0;
		for (size_t k = 0; k < p->function_count; k++)
			if (p->functions[k].code)
				judge_function(i, p, &p->functions[k], calls, n, now);
		p->busy = 0;
		i->given_up += inside_give_up_calls(i->functions, p, calls, n, now);
	}
	renew_probes(i);
}

/* Who is left, and what of it is still mapped. */
static void look(struct inside *i)
{
	uint64_t now = clock_now_ns(CLOCK_BOOTTIME);

	for (struct inside_process **at = &i->head; *at;) {
		struct inside_process *p = *at;

		if (!targets_get(i->targets, p->pid, p->start_ticks)) {
			forget(i, at);
			continue;
		}
		if (!p->over && now >= p->next_look_ns)
			inside_look(&i->looks, p);
		at = &p->next;
	}
}

void inside_pass(struct inside *i)
{
	uint64_t ticks;

	clear_trips(i);
	take_overruns(i);
	if (read(i->timerfd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return;
	look(i);
	judge(i);
}

bool inside_state(const struct inside *i, pid_t pid, uint64_t start_ticks, size_t rule, size_t at,
	struct inside_state *out)
{
	const struct inside_process *p = i->head;

	while (p && (p->pid != pid || p->start_ticks != start_ticks))
		p = p->next;
	for (size_t k = 0; p && k < p->function_count; k++) {
		const struct inside_function *f = &p->functions[k];

		if (f->rule != rule || at-- > 0)
			continue;
		*out = (struct inside_state){.state = p->over	   ? "probe-rate"
						      : f->code	   ? "watched"
						      : f->refused ? "refused"
						      : f->put_off ? "put-off"
								   : "not-loaded",
			.file = f->code ? f->code->path : NULL};
		return true;
	}
	return false;
}

int inside_losses(struct inside *i, struct probe_loss out[PROBE_LOSSES_MAX])
{
	int n = functions_losses(i->functions, out);

	if (n >= 0 && i->given_up)
		out[n++] = (struct probe_loss){"calls-given-up", i->given_up};
	if (n >= 0)
		i->given_up = 0;
	return n;
}
