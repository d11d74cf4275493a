/* SPDX-License-Identifier: MIT */
#include "cli/live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/preflight.h"
#include "capture/snapshot.h"
#include "cli/capture_job.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

struct live {
	const struct live_job *job;
	struct snapshot snapshot;
};

static bool is_cancelled(const struct live_job *job)
{
	return job->cancelled && __atomic_load_n(job->cancelled, __ATOMIC_RELAXED);
}

static int put_pause(json_t *capture, uint64_t pause_ns)
{
	int r = json_put_int(
		capture, "pause_ms", (int64_t)((pause_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));

	return r == 0 ? json_put_int(capture, "pause_us", (int64_t)(pause_ns / 1000)) : r;
}

/* The core is written: the process goes on, and the incident hears how long it stood still. */
static int end(void *arg, json_t *capture, json_t *notes, bool *complete, char **reason)
{
	struct live *l = arg;
	struct snapshot *s = &l->snapshot;
	size_t said = json_array_size(s->remarks), all;
	int r = snapshot_end(s);

	if (is_cancelled(l->job)) {
		*reason = strdup("interrupted");
		return -ECANCELED;
	}
	all = json_array_size(s->remarks);
	for (size_t i = said; r == 0 && i < all; i++)
		r = json_array_append(notes, json_array_get(s->remarks, i)) < 0 ? -ENOMEM : 0;
	if (s->hold.dropped[0] || s->hold.broken_off)
		*complete = false;
	return r == 0 ? put_pause(capture, s->hold.pause_ns) : r;
}

static void progress(void *arg, uint64_t done, uint64_t total)
{
	struct live *l = arg;

	if (l->job->progress)
		l->job->progress(l->job->progress_arg, done, total);
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
		.what = job->what,
		.source = &source,
		.event = job->event,
		.trigger = job->trigger,
		.snapshot = snapshot_name(s),
		.output_fd = job->output_fd,
		.held_ns = s->hold.frozen_ns};

	s->memory.cancelled = job->cancelled;
	return capture_job_run(&capture, incident, reason);
}

int live_capture(const struct live_job *job, json_t **incident, char **reason)
{
	struct live l = {.job = job};
	char text[FREEZE_REASON_MAX] = "";
	struct preflight preflight;
	int r = preflight_check(job->process, &preflight);
	const struct snapshot_request request = {.process = job->process,
		.mode = job->what->snapshot,
		.stacks_only = job->what->kind == CORE_STACKS,
		.no_fork = preflight.no_fork[0] ? preflight.no_fork : NULL,
		.seccomp = preflight.seccomp,
		.max_pause_ns = job->what->max_pause_ns,
		.first = job->tid};

	if (r < 0) {
		*reason = strdup(r == -ESRCH ? "it has ended" : preflight.refused);
		return r;
	}
	r = snapshot_take(&request, &l.snapshot, text);
	if (r < 0)
		*reason = strdup(r == -ESRCH ? "it ended meanwhile" : text);
	else if (l.snapshot.hold.dumpable == 0)
		r = -EPERM;
	if (r == -EPERM && !*reason)
		*reason = strdup("it is not dumpable: it said so (PR_SET_DUMPABLE), or it changed "
				 "its user");
	if (r == 0)
		r = write_capture(&l, incident, reason);
	snapshot_free(&l.snapshot);
	return r;
}
