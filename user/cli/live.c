/* SPDX-License-Identifier: MIT */
#include "cli/live.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "capture/fault.h"
#include "capture/orphans.h"
#include "capture/runtime.h"
#include "capture/snapshot.h"
#include "cli/capture_job.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

#define SLOT_NS (60 * NSEC_PER_SEC)

struct live {
	const struct live_job *job;
	const struct live_plan *plan;
	struct capture_options what; /* as it turns out */
	struct snapshot snapshot;
};

static bool is_cancelled(const struct live_job *job)
{
	return job->cancelled && __atomic_load_n(job->cancelled, __ATOMIC_RELAXED);
}

static unsigned long long milliseconds(uint64_t ns)
{
	return (ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
}

static int put_pause(json_t *capture, const struct live *l)
{
	uint64_t pause = l->snapshot.hold.pause_ns;
	int r = json_put_int(capture, "pause_ms", (int64_t)milliseconds(pause));

	if (r == 0)
		r = json_put_int(capture, "pause_us", (int64_t)(pause / 1000));
	return r == 0 ? json_put_int(capture, "expected_pause_ms",
				(int64_t)milliseconds(l->plan->pause_ns))
		      : r;
}

/* Each huge page that the process wrote while its clone lived is in small pages now. */
static int put_huge(json_t *notes, const struct live *l)
{
	uint64_t before = l->plan->size.huge, now;
	json_t *text;

	if (l->snapshot.hold.way != HOLD_FORK || !before)
		return 0;
	now = limits_read_huge(l->job->process->procfd);
	if (now >= before)
		return 0;
	text = json_sprintf("huge pages split by writes during the capture: AnonHugePages %llu MiB "
			    "before, %llu MiB after",
		(unsigned long long)(before >> 20), (unsigned long long)(now >> 20));
	return json_array_append_new(notes, text) < 0 ? -ENOMEM : 0;
}

/* The core is written: the process goes on, and the incident hears how long it stood still. */
static int end(void *arg, json_t *capture, json_t *notes, bool *complete, char **reason)
{
	struct live *l = arg;
	struct snapshot *s = &l->snapshot;
	size_t said = json_array_size(s->remarks), all;
	int r;

	fault_point("writer.written");
	r = snapshot_end(s);
	fault_point("writer.ended");
	if (is_cancelled(l->job)) {
		*reason = strdup("interrupted");
		return -ECANCELED;
	}
	all = json_array_size(s->remarks);
	for (size_t i = said; r == 0 && i < all; i++)
		r = json_array_append(notes, json_array_get(s->remarks, i)) < 0 ? -ENOMEM : 0;
	if (s->hold.dropped[0] || s->hold.broken_off)
		*complete = false;
	if (r == 0)
		r = put_pause(capture, l);
	return r == 0 ? put_huge(notes, l) : r;
}

static void progress(void *arg, uint64_t done, uint64_t total)
{
	struct live *l = arg;

	if (l->job->progress)
		l->job->progress(l->job->progress_arg, done, total);
}

static void step_back(void)
{
	if (setpriority(PRIO_PROCESS, 0, 19) < 0 ||
		syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
			IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)) < 0)
		log_debug("event=priority errno=%d", errno);
}

static int write_capture(struct live *l, json_t **incident, char **reason)
{
	const struct live_job *job = l->job;
	struct snapshot *s = &l->snapshot;
	const struct capture_source source = {.memory = &s->memory.memory,
		.maps = &s->maps,
		.stacksfd = s->hold.way == HOLD_FORK ? s->memory.image.memfd : s->stacksfd,
		.remarks = s->remarks,
		.hurry = s->hold.way == HOLD_STOP,
		.end = end,
		.progress = progress,
		.arg = l};
	const struct capture_job capture = {.process = job->process,
		.taskfd = s->taskfd,
		.tid = job->tid ? job->tid : job->process->pid,
		.notes = &s->notes,
		.what = &l->what,
		.source = &source,
		.event = job->event,
		.stacks = job->stacks,
		.trigger = job->trigger,
		.snapshot = snapshot_name(s),
		.output_fd = job->output_fd,
		.held_ns = s->hold.frozen_ns,
		.deadline_ns = s->hold.way == HOLD_STOP && l->what.max_pause_ns
				       ? s->hold.frozen_ns + l->what.max_pause_ns
				       : 0};

	s->memory.cancelled = job->cancelled;
	/* Not while the process stands still. */
	if (job->background && s->hold.way != HOLD_STOP)
		step_back();
	if (s->hold.way == HOLD_MOMENT)
		l->what.kind = CORE_STACKS;
	return capture_job_run(&capture, incident, reason);
}

/* Less, rather than a pause that is too long or a host that gets sicker. */
static void only_stacks(struct live_plan *plan, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(plan->changed, sizeof(plan->changed), format, args);
	va_end(args);
	plan->what.kind = CORE_STACKS;
	plan->pause_ns = limits_fork_pause(&(struct limits_size){.threads = plan->size.threads});
}

static void fit_pause(struct live_plan *plan)
{
	uint64_t stop = limits_stop_pause(&plan->size, plan->what.compression == COMPRESS_ZSTD),
		 max = plan->what.max_pause_ns;

	plan->may_stop = plan->what.snapshot == SNAPSHOT_AUTO && (!max || stop <= max);
	plan->pause_ns = limits_fork_pause(&plan->size);
	if (plan->what.snapshot == SNAPSHOT_STOP ||
		(plan->preflight.no_fork[0] && plan->what.snapshot == SNAPSHOT_AUTO))
		plan->pause_ns = stop;
	if (max && plan->pause_ns > max)
		only_stacks(plan,
			"stacks only: it would stand still for about %llu ms, and %llu ms are the "
			"most",
			milliseconds(plan->pause_ns), milliseconds(max));
}

int live_plan(
	const struct process *process, const struct capture_options *what, struct live_plan *plan)
{
	struct limits_host host;
	const char *obstacle;
	int r;

	*plan = (struct live_plan){.what = *what};
	r = preflight_check(process, &plan->preflight);
	if (r < 0)
		return r;
	limits_read_size(process->procfd, &plan->size);
	limits_read_host(&host);
	obstacle = limits_clone_obstacle(&plan->size, limits_read_headroom(process->procfd));
	if (obstacle && !plan->preflight.no_fork[0])
		snprintf(plan->preflight.no_fork, sizeof(plan->preflight.no_fork), "%s", obstacle);
	obstacle = limits_host_obstacle(&host);
	if (what->kind == CORE_STACKS)
		plan->pause_ns =
			limits_fork_pause(&(struct limits_size){.threads = plan->size.threads});
	else if (obstacle)
		only_stacks(plan, "stacks only: %s", obstacle);
	else
		fit_pause(plan);
	return 0;
}

/* One live capture at a time on a host, or as many as the sentinel is told. */
static int wait_for_slot(const struct live_job *job, int runtimefd, int *fd)
{
	const struct timespec nap = {.tv_nsec = 20 * NSEC_PER_MSEC};
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + SLOT_NS;
	int r;

	while ((r = limits_take_slot(runtimefd, job->at_once, fd)) == -EBUSY &&
		!is_cancelled(job) && clock_now_ns(CLOCK_MONOTONIC) < end)
		nanosleep(&nap, NULL);
	return r;
}

void live_reap_orphans(void)
{
	_cleanup_close_ int runtimefd = -1, slot = -1;

	/* Whoever has the slot is at work with such a clone, and has reaped the others. */
	if (runtime_open(RUNTIME_DIRECTORY, 0, &runtimefd) == 0 &&
		limits_take_slot(runtimefd, 1, &slot) == 0)
		orphans_reap(runtimefd);
}

static int take_and_write(struct live *l, const struct live_plan *plan, int runtimefd,
	json_t **incident, char **reason)
{
	char text[FREEZE_REASON_MAX] = "";
	const struct snapshot_request request = {.process = l->job->process,
		.mode = plan->what.snapshot,
		.stacks_only = plan->what.kind == CORE_STACKS,
		.no_fork = plan->preflight.no_fork[0] ? plan->preflight.no_fork : NULL,
		.seccomp = plan->preflight.seccomp,
		.may_stop = plan->may_stop,
		.max_pause_ns = plan->what.max_pause_ns,
		.runtimefd = runtimefd,
		.size = &plan->size,
		.first = l->job->tid};
	int r = snapshot_take(&request, &l->snapshot, text);

	if (r == 0 && l->snapshot.hold.way == HOLD_FORK && l->snapshot.hold.dumpable == 0) {
		r = -EPERM;
		*reason = strdup("it said that it is not to be dumped (PR_SET_DUMPABLE)");
	} else if (r < 0) {
		*reason = strdup(r == -ESRCH ? "it ended meanwhile" : text);
	}
	if (r == 0 && plan->changed[0] &&
		json_array_append_new(l->snapshot.remarks, json_string(plan->changed)) < 0)
		r = -ENOMEM;
	fault_point("writer.taken");
	if (r == 0)
		r = write_capture(l, incident, reason);
	fault_point("writer.done");
	snapshot_free(&l->snapshot);
	return r;
}

int live_capture(
	const struct live_job *job, const struct live_plan *plan, json_t **incident, char **reason)
{
	_cleanup_close_ int runtimefd = -1, slot = -1;
	struct live l = {.job = job, .plan = plan, .what = plan->what};
	int r = runtime_open(RUNTIME_DIRECTORY, 1, &runtimefd);

	if (r == 0)
		r = wait_for_slot(job, runtimefd, &slot);
	if (r < 0) {
		*reason = strdup(r == -EBUSY ? "another process is being captured"
					     : "there is no " RUNTIME_DIRECTORY " to work with");
		return r;
	}
	orphans_reap(runtimefd);
	return take_and_write(&l, plan, runtimefd, incident, reason);
}
