/* SPDX-License-Identifier: MIT */
#include "cli/capture_job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "capture/limits.h"
#include "core/core.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "sink/incident.h"
#include "store/store.h"
#include "target/maps.h"
#include "target/memory.h"
#include "target/stat.h"
#include "target/unwind.h"

#define FRAMES_MAX	  128
#define FRAMES_MAX_STACKS 64 /* a thread, where all are shown */
#define UNWIND_TIMEOUT_NS (10 * NSEC_PER_SEC)
#define COREDUMP_FILTER	  0x33 /* the kernel's default */

/* What is gathered on the way. */
struct work {
	const struct capture_job *job;
	struct maps own_maps;
	struct memory own_memory;
	const struct maps *maps;
	struct memory *memory;
	struct identity identity;
	struct core_result core;
	struct store_entry entry;
	enum core_kind kind;
	uint64_t keep_free; /* bytes of the file system */
	json_t *incident;   /* owned */
	json_t *capture;    /* borrowed from incident */
	json_t *notes;	    /* borrowed from capture */
	bool complete;
	char **reason;
};

static void work_free(struct work *w)
{
	maps_free(&w->own_maps);
	memory_close(&w->own_memory);
	identity_free(&w->identity);
	core_result_free(&w->core);
	store_abort(&w->entry);
	json_decref(w->incident);
}
#define _cleanup_work_ __attribute__((cleanup(work_free)))

__attribute__((format(printf, 3, 4))) static int fail(
	struct work *w, int r, const char *format, ...)
{
	va_list args;

	free(*w->reason);
	va_start(args, format);
	if (vasprintf(w->reason, format, args) < 0)
		*w->reason = NULL;
	va_end(args);
	return r;
}

__attribute__((format(printf, 2, 3))) static int note(struct work *w, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return -ENOMEM;
	return json_array_append_new(w->notes, json_string(text)) < 0 ? -ENOMEM : 0;
}

/* "Max core file size   SOFT   HARD   bytes" of /proc/PID/limits. */
static bool hard_limit_is_zero(int procfd)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	char hard[24];

	if (io_read_file_at(procfd, "limits", 65536, &text, NULL) < 0)
		return false;
	line = strstr(text, "Max core file size");
	return line && sscanf(line + 18, " %*s %23s", hard) == 1 && strcmp(hard, "0") == 0;
}

static unsigned int coredump_filter(struct work *w)
{
	_cleanup_free_ char *text = NULL;

	/* Not below task/: a process whose leader has gone cannot say. */
	if (io_read_file_at(w->job->process->procfd, "coredump_filter", 64, &text, NULL) < 0 ||
		!*text) {
		note(w, "coredump_filter could not be read, the default is taken");
		return COREDUMP_FILTER;
	}
	return (unsigned int)strtoul(text, NULL, 16);
}

static int begin_incident(struct work *w)
{
	const struct capture_job *job = w->job;
	uint64_t now = clock_now_ns(CLOCK_REALTIME);
	int r;

	r = identity_read(job->process->procfd, &w->identity);
	if (r < 0)
		return r;
	if (job->event)
		w->incident = incident_follow(job->event, "capture", now);
	else
		w->incident = incident_new("capture", now);
	w->identity.pid = job->process->pid;
	w->identity.tid = job->tid;
	if (w->incident && !job->event)
		r = json_put(w->incident, "process", incident_process(&w->identity));
	if (r == 0)
		r = json_put(w->incident, "capture", json_object());
	if (r < 0)
		return r;
	w->capture = json_object_get(w->incident, "capture");
	r = json_put(w->capture, "notes", json_array());
	w->notes = json_object_get(w->capture, "notes");
	if (r == 0 && job->what->comment)
		r = json_put_text(w->incident, "comment", job->what->comment);
	return r;
}

static int choose_kind(struct work *w)
{
	const struct capture_job *job = w->job;
	struct limits_host host;
	const char *obstacle;

	w->kind = job->what->kind;
	if (job->root_only &&
		note(w, "the process had changed its user or group: this is root's only") < 0)
		return -ENOMEM;
	if (w->kind == CORE_STACKS || w->kind == CORE_NONE)
		return 0;
	if (!job->what->ignore_core_limit && hard_limit_is_zero(job->process->procfd)) {
		w->kind = CORE_STACKS;
		return note(w, "hard RLIMIT_CORE is 0: stacks only");
	}
	if (job->source) /* was planned with that in mind */
		return 0;
	limits_read_host(&host);
	obstacle = limits_host_obstacle(&host);
	if (!obstacle)
		return 0;
	w->kind = CORE_STACKS;
	return note(w, "stacks only: %s", obstacle);
}

static int put_stacks(struct work *w, const json_t *threads)
{
	json_t *stack = json_object_get(json_array_get(threads, 0), "stack");
	char signature[17];
	int r;

	if (!json_is_array(stack))
		return 0;
	if (json_object_set(w->incident, "stack", stack) < 0)
		return -ENOMEM;
	if (w->job->signal) {
		unwind_signature(w->job->signal, stack, signature);
		r = json_put_text(w->incident, "signature", signature);
		if (r < 0)
			return r;
	}
	if (w->kind != CORE_STACKS)
		return 0;
	return json_object_set(w->incident, "threads", (json_t *)threads) < 0 ? -ENOMEM : 0;
}

/* A trace that cannot be taken costs the trace, not the capture. */
static int take_stacks(struct work *w)
{
	const struct capture_job *job = w->job;
	_cleanup_free_ struct thread_registers *registers = NULL;
	_cleanup_json_ json_t *threads = NULL;
	bool all = w->kind == CORE_STACKS;
	int r = notes_registers(job->notes, &registers);

	if (r == 0)
		r = unwind_run(
			&(struct unwind_request){.procfd = job->process->procfd,
				.memfd = job->source ? job->source->stacksfd : w->memory->memfd,
				.maps = w->maps,
				.threads = registers,
				.thread_count = all ? job->notes->threads : 1,
				.max_frames = all ? FRAMES_MAX_STACKS : FRAMES_MAX,
				.timeout_ns = UNWIND_TIMEOUT_NS},
			&threads);
	if (r < 0) {
		w->complete = w->complete && !all;
		return note(w, "stacks could not be unwound: %s", strerror(-r));
	}
	return put_stacks(w, threads);
}

static int open_memory(struct work *w)
{
	const struct capture_job *job = w->job;
	int r;

	if (job->source) {
		w->maps = job->source->maps;
		w->memory = job->source->memory;
		return json_array_extend(w->notes, (json_t *)job->source->remarks) < 0 ? -ENOMEM
										       : 0;
	}
	w->maps = &w->own_maps;
	w->memory = &w->own_memory;
	r = maps_read(job->taskfd, w->kind != CORE_STACKS, &w->own_maps);
	if (r < 0)
		return fail(w, r, "the mappings could not be read: %s", strerror(-r));
	if (w->maps->n == 0)
		return fail(w, -ESRCH, "the process was gone before its memory could be read");
	r = memory_open(job->taskfd, &w->own_memory);
	return r < 0 ? fail(w, r, "the memory could not be opened: %s", strerror(-r)) : 0;
}

/* Whether the process that was held still is: memory read from a process that has gone is no
 * memory. */
static bool target_gone(const struct capture_job *job)
{
	struct stat_line stat;

	return stat_read(job->taskfd, &stat) < 0 || stat.state == 'Z' || stat.state == 'X';
}

static uint64_t keep_free(const struct capture_job *job)
{
	const struct host_share *host = &job->what->host;
	uint64_t bytes = host->keep_free > CAPTURE_KEEP_FREE ? host->keep_free : CAPTURE_KEEP_FREE;
	struct statvfs fs;
	uint64_t share;

	if (!host->keep_free_pct || fstatvfs(job->output_fd, &fs) < 0)
		return bytes;
	share = fs.f_blocks * fs.f_frsize / 100 * host->keep_free_pct;
	return share > bytes ? share : bytes;
}

/* A process that stands still for it is not kept waiting. */
static uint64_t write_speed(const struct capture_job *job)
{
	return job->source && job->source->hurry ? 0 : job->what->host.write_speed;
}

static int write_core(struct work *w, int fd)
{
	const struct capture_job *job = w->job;
	const struct core_request request = {.notes = job->notes,
		.maps = w->maps,
		.memory = w->memory,
		.kind = w->kind,
		.compression = job->what->compression,
		.compress_threads = job->what->compress_threads,
		.coredump_filter = coredump_filter(w),
		.incident = w->incident,
		.deadline_ns = job->deadline_ns,
		.keep_free = w->keep_free,
		.write_speed = write_speed(job),
		.fd = fd,
		.progress = job->source ? job->source->progress : NULL,
		.progress_arg = job->source ? job->source->arg : NULL};
	int r = core_write(&request, &w->core);

	if (r < 0)
		return fail(w, r, "the core could not be written: %s", strerror(-r));
	w->complete = w->complete && w->core.complete;
	if (w->core.notes && json_array_extend(w->notes, w->core.notes) < 0)
		return -ENOMEM;
	/* A snapshot says itself what became of it. */
	if (job->source || !target_gone(job))
		return 0;
	w->complete = false;
	return note(w, "the process was killed while it was captured");
}

static int end_source(struct work *w)
{
	const struct capture_source *source = w->job->source;
	int r;

	if (!source)
		return 0;
	r = source->end(source->arg, w->capture, w->notes, &w->complete, w->reason);
	if (r < 0)
		return r;
	return source->hurry ? take_stacks(w) : 0;
}

static int write_folded(struct work *w, json_t *profile, const char *folded)
{
	_cleanup_close_ int fd = -1;
	int r = store_entry_create_file(&w->entry, PROFILING_FILE, &fd);

	if (r == 0)
		r = io_write_all(fd, folded, strlen(folded));
	if (r < 0)
		return fail(w, r, "the store: %s", store_strerror(r));
	return json_put_text(profile, "file", PROFILING_FILE);
}

/* Takes seconds, so it comes when nothing of the process is held any more. A file or a pipe that
 * takes the core alone has no place for all of it. */
static int put_profile(struct work *w)
{
	_cleanup_free_ char *folded = NULL;
	json_t *profile;
	int r;

	if (!w->job->stacks)
		return 0;
	r = profiling_finish(w->job->stacks, &profile, &folded);
	if (r == 0)
		r = json_put(w->capture, "profile", profile);
	if (r == 0 && folded && w->job->what->form == OUTPUT_STORE)
		r = write_folded(w, profile, folded);
	return r;
}

static int finish_incident(struct work *w)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	json_t *c = w->capture;
	int r = json_put_text(c, "kind", core_kind_name(w->kind));

	if (r == 0)
		r = json_put_text(c, "snapshot", w->job->snapshot);
	if (r == 0)
		r = json_put_int(c, "bytes", (int64_t)w->core.bytes);
	if (r == 0)
		r = json_put_int(c, "memory_bytes", (int64_t)w->core.memory_bytes);
	/* A process that the kernel holds stands still all the while; who stopped a live one has
	 * said how long. */
	if (r == 0 && !json_object_get(c, "pause_ms"))
		r = json_put_int(c, "pause_ms", (int64_t)((now - w->job->held_ns) / NSEC_PER_MSEC));
	if (r == 0)
		r = json_put_int(
			c, "duration_ms", (int64_t)((now - w->job->held_ns) / NSEC_PER_MSEC));
	if (r == 0)
		r = json_put_int(c, "threads", (int64_t)w->job->notes->threads);
	return r == 0 ? json_put_bool(c, "complete", w->complete) : r;
}

/* The name of the core's file in an entry, NULL where there is none. */
static const char *core_file(const struct work *w)
{
	if (w->kind == CORE_STACKS || w->kind == CORE_NONE)
		return NULL;
	return w->job->what->compression == COMPRESS_ZSTD ? "core.zst" : "core";
}

static int begin_entry(struct work *w, const struct store *store)
{
	const struct store_name name = {.realtime_ns = clock_now_ns(CLOCK_REALTIME),
		.comm = w->identity.comm,
		.pid = w->job->process->pid,
		.trigger = w->job->trigger};
	int r = store_check_space(store, 0, w->keep_free);

	if (r == 0)
		r = store_begin(store, &name, &w->entry);
	if (r < 0)
		return fail(w, r, "the store: %s", store_strerror(r));
	r = json_put_text(w->capture, "id", w->entry.id);
	return r == 0 ? json_put_text(w->capture, "path", w->entry.path) : r;
}

static int to_store(struct work *w)
{
	/* Borrowed: the daemon opened and checked it, this process only uses the descriptor. */
	const struct store store = {.dirfd = w->job->output_fd,
		.path = (char *)(w->job->what->output ? w->job->what->output : STORE_DEFAULT_PATH)};
	_cleanup_close_ int fd = -1;
	int r = begin_entry(w, &store);

	if (r < 0)
		return r;
	if (core_file(w)) {
		r = store_entry_create_file(&w->entry, core_file(w), &fd);
		if (r < 0)
			return fail(w, r, "the store: %s", store_strerror(r));
		r = write_core(w, fd);
		if (r < 0)
			return r;
	}
	r = end_source(w);
	if (r == 0)
		r = put_profile(w);
	if (r == 0)
		r = finish_incident(w);
	if (r < 0)
		return r;
	r = store_publish(&w->entry, w->incident);
	return r < 0 ? fail(w, r, "the capture could not be published: %s", store_strerror(r)) : 0;
}

/* A file or a pipe takes the core alone; what would be incident.json is in the core's note. */
static int to_file(struct work *w)
{
	_cleanup_free_ char *text = NULL;
	int r = 0;

	if (w->job->what->output)
		r = json_put_text(w->capture, "path", w->job->what->output);
	if (r == 0 && core_file(w))
		r = write_core(w, w->job->output_fd);
	if (r == 0)
		r = end_source(w);
	if (r == 0)
		r = put_profile(w);
	if (r == 0)
		r = finish_incident(w);
	if (r == 0 && !core_file(w)) {
		text = json_dumps(w->incident, JSON_INDENT(1) | JSON_DIGITS);
		r = text ? io_write_all(w->job->output_fd, text, strlen(text)) : -ENOMEM;
	}
	/* EINVAL: a pipe or a device, which keeps nothing. */
	if (r == 0 && fsync(w->job->output_fd) < 0 && errno != EINVAL && errno != EROFS)
		r = -errno;
	if (r < 0 && ftruncate(w->job->output_fd, 0) < 0 && errno != EINVAL)
		note(w, "what was written could not be removed: %s", strerror(errno));
	return r;
}

int capture_job_run(const struct capture_job *job, json_t **incident, char **reason)
{
	_cleanup_work_ struct work w = {.job = job,
		.own_memory = {.memfd = -1, .pagemapfd = -1},
		.entry = STORE_ENTRY_NONE,
		.complete = true,
		.reason = reason};
	int r = begin_incident(&w);

	w.keep_free = keep_free(job);
	if (r == 0)
		r = choose_kind(&w);
	if (r == 0)
		r = open_memory(&w);
	if (r == 0 && !(job->source && job->source->hurry))
		r = take_stacks(&w);
	if (r == 0)
		r = job->what->form == OUTPUT_STORE ? to_store(&w) : to_file(&w);
	if (r < 0) {
		if (!*reason)
			fail(&w, r, "the capture failed: %s", strerror(-r));
		return r;
	}
	*incident = TAKE_PTR(w.incident);
	return 0;
}
