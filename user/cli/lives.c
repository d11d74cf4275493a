/* SPDX-License-Identifier: MIT */
#include "cli/lives.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/actions.h"
#include "cli/capture_result.h"
#include "cli/handler_guard.h"
#include "cli/live.h"
#include "cli/wakeups.h"
#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "sink/incident.h"

#define QUEUE_MAX                                                                      \
	64 /* trips that wait: past it, a storm has nothing to gain from one more core \
	    */

struct live {
	struct live *next;
	struct live_trip trip;
	struct decision decision;
	struct actions_run *before; /* what runs ahead of the capture; NULL: not yet, or done */
	bool prepared;		    /* nothing is to run ahead of it any more */
	pid_t worker;		    /* 0: it waits for its turn */
	int pidfd, resultfd;
};

struct lives {
	struct trip_context context;
	struct exits *exits;
	uint64_t at_once;
	int epollfd;
	struct live *head; /* the first ones are under way */
	struct trip_counts counts;
	bool closed; /* nothing is tried again */
};

int lives_new(const struct trip_context *context, struct exits *exits, uint64_t at_once,
	struct lives **out)
{
	struct lives *l = calloc(1, sizeof(*l));
	int r = l ? wakeups_open(&l->epollfd) : -ENOMEM;

	if (r < 0) {
		free(l);
		return r;
	}
	l->context = *context;
	l->exits = exits;
	l->at_once = at_once;
	*out = l;
	return 0;
}

static void free_live(struct live *live)
{
	if (live->worker)
		child_end(live->worker, "capture");
	actions_end(live->before);
	profiling_release(live->trip.stacks);
	json_decref(live->trip.event);
	cleanup_close(&live->pidfd);
	cleanup_close(&live->resultfd);
	free(live);
}

void lives_free(struct lives *l)
{
	if (!l)
		return;
	for (struct live *live = l->head, *next; live; live = next) {
		next = live->next;
		free_live(live);
	}
	cleanup_close(&l->epollfd);
	free(l);
}

int lives_fd(const struct lives *l)
{
	return l->epollfd;
}

struct skip {
	const char *reason, *detail; /* DETAIL: NULL: there is none */
	uint64_t retry_ns;	     /* 0: it is not said */
};

static void say_skip(const struct lives *l, const json_t *trip, const struct skip *s)
{
	json_t *skip = incident_follow(trip, "skip", clock_now_ns(CLOCK_REALTIME));

	if (skip)
		json_put_text(skip, "reason", s->reason);
	if (skip && s->detail)
		json_put_text(skip, "detail", s->detail);
	if (skip && s->retry_ns && s->retry_ns != UINT64_MAX)
		json_put_int(skip, "retry_in_ms",
			(int64_t)((s->retry_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));
	feed_say(l->context.feed, skip);
}

/* It does not count. Returns after how long the process is tried again. */
static uint64_t give_back(
	const struct lives *l, const struct live_trip *trip, const struct decision *decision)
{
	const struct clock_pair now = clock_pair_now();

	rule_give_back(l->context.ledger, decision, &now);
	return rule_retry_ns(
		&l->context.rules->v[trip->rule], l->context.ledger, &trip->trip, &now);
}

/* A capture that was decided comes to nothing. */
static void fail(struct lives *l, const struct live *live, const char *reason, const char *detail)
{
	struct skip skip = {reason, detail, give_back(l, &live->trip, &live->decision)};

	if (strcmp(reason, "target-gone") == 0 || l->closed)
		skip.retry_ns = 0;
	l->counts.failed++;
	destination_end(l->context.output, false, NULL);
	say_skip(l, live->trip.event, &skip);
}

static void follow_up(const struct lives *l, const struct live_trip *trip, const json_t *incident)
{
	followups_start(l->context.followups, &l->context.rules->v[trip->rule].then, trip->trip.pid,
		trip->trip.start_ticks, incident);
}

static int capture(const struct lives *l, const struct live *live, int output_fd, json_t **incident,
	char **reason)
{
	const struct capture_options what =
		destination_options(l->context.output, live->decision.what);
	_cleanup_process_ struct process process = PROCESS_NONE;
	struct live_job job = {.process = &process,
		.tid = live->trip.tid,
		.what = &what,
		.event = live->trip.event,
		.stacks = live->trip.stacks,
		.trigger = trip_kind_name(live->trip.trip.kind),
		.output_fd = output_fd,
		.background = true,
		.at_once = (unsigned int)l->at_once};
	struct live_plan plan;
	int r = process_open(live->trip.trip.pid, &process);

	if (r == 0 && process.start_ticks != live->trip.trip.start_ticks)
		r = -ESRCH;
	if (r == 0) {
		r = live_plan(&process, &what, &plan);
		if (r == -EPERM)
			*reason = strdup(plan.preflight.refused);
	}
	if (r == 0)
		r = live_capture(&job, &plan, incident, reason);
	if (r == -ESRCH && !*reason)
		*reason = strdup("it has ended");
	return r;
}

_Noreturn static void work(
	const struct lives *l, const struct live *live, int output_fd, pid_t parent)
{
	json_t *incident = NULL, *result;
	char *reason = NULL;
	sigset_t set;
	int r;

	/* Whoever kills the watch means its captures. The signals that end a watch are the watch's
	 * business, also where a terminal sends them to all. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	if (getppid() != parent)
		_exit(1);
	r = capture(l, live, output_fd, &incident, &reason);
	result = r < 0 ? capture_result_error(r, reason ? reason : strerror(-r))
		       : capture_result_success(incident);
	_exit(!result || json_dumpfd(result, live->resultfd, JSON_COMPACT) < 0);
}

static int start(struct lives *l, struct live *live)
{
	int output_fd = destination_begin(l->context.output);
	pid_t parent = getpid();

	if (output_fd < 0)
		return output_fd;
	live->resultfd = memfd_create("result", MFD_CLOEXEC);
	if (live->resultfd < 0)
		return -errno;
	exits_pause(l->exits, live->trip.trip.pid, live->trip.trip.start_ticks);
	live->worker = fork();
	if (live->worker == 0)
		work(l, live, output_fd, parent);
	if (live->worker < 0) {
		live->worker = 0;
		return -errno;
	}
	live->pidfd = pidfd_open(live->worker, 0);
	if (live->pidfd >= 0) /* else the loop's tick will see to it */
		wakeups_add(l->epollfd, live->pidfd);
	return 0;
}

static int start_before(struct lives *l, struct live *live)
{
	const struct live_trip *trip = &live->trip;
	_cleanup_process_ struct process process = PROCESS_NONE;
	struct actions_request request = {.list = &l->context.rules->v[trip->rule].before,
		.incident = trip->event,
		.when = ACTIONS_BEFORE};
	int r;

	if (!request.list->n) {
		live->prepared = true;
		return 0;
	}
	if (process_open(trip->trip.pid, &process) == 0 &&
		process.start_ticks == trip->trip.start_ticks)
		request.process = &process;
	r = actions_start(&request, &live->before);
	if (r == 0)
		wakeups_add(l->epollfd, actions_fd(live->before));
	return r;
}

/* Whatever is to run ahead of the capture: 1 when it has, 0 while it does, or -errno. What fails of
 * it is told, and is no reason to have no capture. */
static int prepare(struct lives *l, struct live *live)
{
	json_t *event;
	int r = 0;

	if (!live->prepared && !live->before)
		r = start_before(l, live);
	if (r < 0 || live->prepared)
		return r < 0 ? r : 1;
	while ((r = actions_read(live->before, &event)) == 1)
		feed_say(l->context.feed, event);
	if (r == 0)
		return 0;
	actions_end(TAKE_PTR(live->before));
	live->prepared = true;
	return 1;
}

void lives_each(const struct lives *l,
	void (*start_anew)(void *arg, pid_t pid, uint64_t start_ticks, size_t rule), void *arg)
{
	for (const struct live *live = l->head; live; live = live->next)
		start_anew(arg, live->trip.trip.pid, live->trip.trip.start_ticks, live->trip.rule);
}

static int append(struct lives *l, const struct live_trip *trip, const struct decision *decision)
{
	struct live *live = calloc(1, sizeof(*live)), **end = &l->head;

	if (!live)
		return -ENOMEM;
	live->trip = *trip;
	json_incref(live->trip.event);
	live->trip.stacks = profiling_take(trip->stacks);
	live->decision = *decision;
	live->pidfd = live->resultfd = -1;
	while (*end)
		end = &(*end)->next;
	*end = live;
	return 0;
}

int lives_begin(struct lives *l, const struct live_trip *trip)
{
	_cleanup_json_ json_t *event = trip->event;
	struct clock_pair now = clock_pair_now();
	struct decision decision =
		rule_decide(&l->context.rules->v[trip->rule], l->context.ledger, &trip->trip, &now);
	struct skip skip = {.reason = decision.skip_reason};
	int r;

	if (decision.told)
		return 0;
	l->counts.tripped++;
	feed_say(l->context.feed, json_incref(event));
	if (decision.skip_reason)
		say_skip(l, event, &skip);
	if (!decision.skip_reason && !decision.capture) /* kind none: the trip says it all */
		follow_up(l, trip, event);
	if (decision.skip_reason || !decision.capture)
		return 0;
	if (trip->gone) {
		skip.reason = "memory-gone";
		give_back(l, trip, &decision);
		say_skip(l, event, &skip);
		return 0;
	}
	if (lives_pending(l) >= QUEUE_MAX) {
		skip = (struct skip){"throttled", "too many captures wait for their turn",
			give_back(l, trip, &decision)};
		say_skip(l, event, &skip);
		return 0;
	}
	r = append(l, trip, &decision);
	if (r < 0)
		give_back(l, trip, &decision);
	else
		lives_progress(l);
	return r;
}

static json_t *read_result(const struct live *live)
{
	if (lseek(live->resultfd, 0, SEEK_SET) < 0)
		return NULL;
	return json_loadfd(live->resultfd, 0, NULL);
}

static void finish(struct lives *l, struct live *live)
{
	_cleanup_json_ json_t *result = read_result(live);
	json_t *incident = json_object_get(result, "incident");
	int r;

	if (!incident) {
		fail(l, live, json_get_text(result, "code", "capture-failed"),
			json_get_text(result, "reason", "the process that wrote it died"));
		return;
	}
	r = destination_end(l->context.output, true, json_object_get(incident, "capture"));
	if (r < 0) {
		fail(l, live, "capture-failed", strerror(-r));
		return;
	}
	feed_say(l->context.feed, json_incref(incident));
	l->counts.captured++;
	follow_up(l, &live->trip, incident);
}

static bool has_ended(struct live *live)
{
	int status;

	if (waitpid(live->worker, &status, WNOHANG) != live->worker)
		return false;
	live->worker = 0;
	return true;
}

/* 1: it is over, 0: it is under way. */
static int progress_one(struct lives *l, struct live *live)
{
	int r;

	if (live->worker) {
		if (!has_ended(live))
			return 0;
		finish(l, live);
		exits_resume(l->exits, live->trip.trip.pid, live->trip.trip.start_ticks);
		return 1;
	}
	r = prepare(l, live);
	if (r == 1)
		r = start(l, live);
	if (r < 0)
		fail(l, live, "capture-failed", strerror(-r));
	return r < 0;
}

/* The first ones are under way, as many as may be at once. */
void lives_progress(struct lives *l)
{
	uint64_t at_once = 0;

	for (struct live **at = &l->head; *at && at_once < l->at_once;) {
		struct live *live = *at;

		if (!progress_one(l, live)) {
			at_once++;
			at = &live->next;
			continue;
		}
		*at = live->next;
		free_live(live);
	}
}

void lives_drop_waiting(struct lives *l, const char *reason)
{
	l->closed = true;
	for (struct live **at = &l->head; *at;) {
		struct live *live = *at;

		if (live->worker || live->before || live->prepared) {
			at = &live->next;
			continue;
		}
		fail(l, live, reason, NULL);
		*at = live->next;
		free_live(live);
	}
}

void lives_finish(struct lives *l)
{
	l->closed = true;
	while (l->head) {
		struct live *live = l->head;

		fail(l, live, "interrupted", NULL);
		l->head = live->next;
		free_live(live);
	}
}

size_t lives_pending(const struct lives *l)
{
	size_t n = 0;

	for (const struct live *live = l->head; live; live = live->next)
		n++;
	return n;
}

struct trip_counts lives_counts(const struct lives *l)
{
	return l->counts;
}
