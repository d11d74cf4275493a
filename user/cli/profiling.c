/* SPDX-License-Identifier: MIT */
#include "cli/profiling.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "probe/profile.h"
#include "target/process.h"

#define AT_ONCE	       8
#define CPUS_AT_ONCE   64 /* a sampling has a buffer of a megabyte for each processor */
#define UNWIND_TIME_NS (10 * NSEC_PER_SEC)

struct profiling {
	unsigned int references;
	struct process process;
	struct profile *profile; /* NULL: REASON says why */
	const char *reason;	 /* static, or NULL: ERROR says it */
	int error;
	bool taken;
	struct profiling_budget *budget;
	size_t descriptors;
};

/* An event for each processor and thread, and half of what a process may have open is for others
 * than these. */
static bool has_room(const struct profiling_budget *b, size_t descriptors)
{
	size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_CONF);
	struct rlimit rl;

	if (b->count == 0)
		return true;
	if (b->count >= AT_ONCE || (b->count + 1) * cpus > CPUS_AT_ONCE)
		return false;
	return getrlimit(RLIMIT_NOFILE, &rl) == 0 &&
	       b->descriptors + descriptors <= rl.rlim_cur / 2;
}

static size_t descriptors_for(uint64_t threads)
{
	size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_CONF);

	return threads < PROFILE_EVENTS / cpus ? (size_t)threads * cpus : PROFILE_EVENTS + cpus;
}

static int begin(struct profiling *p, pid_t pid, uint64_t start_ticks)
{
	int r = process_open(pid, &p->process);

	if (r == 0 && p->process.start_ticks != start_ticks)
		r = -ESRCH;
	return r == 0 ? profile_start(&p->process, &p->profile) : r;
}

struct profiling *profiling_start(
	struct profiling_budget *b, pid_t pid, uint64_t start_ticks, uint64_t threads)
{
	struct profiling *p = calloc(1, sizeof(*p));
	size_t descriptors = descriptors_for(threads);

	if (!p)
		return NULL;
	p->references = 1;
	p->process = PROCESS_NONE;
	if (!has_room(b, descriptors)) {
		p->reason = "too many other processes were sampled";
		return p;
	}
	p->error = begin(p, pid, start_ticks);
	if (p->profile) {
		p->budget = b;
		p->descriptors = descriptors;
		b->count++;
		b->descriptors += descriptors;
	}
	return p;
}

void profiling_poll(struct profiling *p)
{
	if (p->profile && !p->taken)
		profile_poll(p->profile);
}

static void give_back_descriptors(struct profiling *p)
{
	if (p->budget)
		p->budget->descriptors -= p->descriptors;
	p->descriptors = 0;
}

struct profiling *profiling_take(struct profiling *p)
{
	if (!p)
		return NULL;
	if (p->profile && !p->taken) {
		profile_stop(p->profile);
		give_back_descriptors(p);
	}
	p->taken = true;
	p->references++;
	return p;
}

bool profiling_is_taken(const struct profiling *p)
{
	return p && p->taken;
}

void profiling_release(struct profiling *p)
{
	if (!p || --p->references)
		return;
	give_back_descriptors(p);
	if (p->budget)
		p->budget->count--;
	profile_free(p->profile);
	process_close(&p->process);
	free(p);
}

static int put_counts(json_t *o, const struct profile_result *result)
{
	int r = json_put_int(o, "samples", (int64_t)result->samples);

	r |= json_put_int(o, "kept", (int64_t)result->kept);
	r |= json_put_int(o, "lost", (int64_t)result->lost);
	if (result->threads_left_out)
		r |= json_put_int(o, "threads_left_out", (int64_t)result->threads_left_out);
	if (result->folded[0])
		r |= json_put_text_n(o, "hottest", result->folded, strcspn(result->folded, "\n"));
	return r;
}

int profiling_finish(struct profiling *p, json_t **summary, char **folded)
{
	_cleanup_json_ json_t *o = json_object();
	struct profile_result result = {0};
	int r = p->profile ? profile_finish(p->profile, UNWIND_TIME_NS, &result) : p->error;
	int put;

	if (!o)
		put = -ENOMEM;
	else if (p->reason || r < 0)
		put = json_put_text(o, "reason", p->reason ? p->reason : strerror(-r));
	else
		put = put_counts(o, &result);
	if (put) {
		free(result.folded);
		return -ENOMEM;
	}
	*summary = TAKE_PTR(o);
	*folded = NULL;
	if (result.folded && result.folded[0])
		*folded = result.folded;
	else
		free(result.folded);
	return 0;
}
