/* SPDX-License-Identifier: MIT */
#include "probe/sampler.h"

#include <abi.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "probe/bpf_log.h"
#include "sample.skel.h"
#include "target/process.h"
#include "target/stat.h"

#define READ_SIZE (64u << 10) /* twice what the kernel hands out at once */

struct sampler {
	struct sample_bpf *skeleton;
	struct bpf_link *processes, *threads;
	char *raw; /* records of the last pass */
	size_t raw_size;
	struct sample *samples;
	size_t samples_size;
	uint64_t page; /* bytes */
};

static void cleanup_sampler(struct sampler **s)
{
	sampler_close(*s);
}

static int attach(struct bpf_program *program, struct bpf_link **out)
{
	*out = bpf_program__attach_iter(program, NULL);
	return *out ? 0 : -errno;
}

int sampler_open(struct sampler **out)
{
	_cleanup_(cleanup_sampler) struct sampler *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->page = (uint64_t)sysconf(_SC_PAGESIZE);
	if (libbpf_num_possible_cpus() > CT_CPUS_MAX)
		log_warn(
			"event=sampler cpus=%d summed=%d", libbpf_num_possible_cpus(), CT_CPUS_MAX);
	bpf_log_start();
	s->skeleton = sample_bpf__open();
	if (!s->skeleton)
		return -errno;
	bpf_program__set_autoload(s->skeleton->progs.sample_processes, true);
	bpf_program__set_autoload(s->skeleton->progs.sample_threads, true);
	r = sample_bpf__load(s->skeleton);
	if (r == 0)
		r = attach(s->skeleton->progs.sample_processes, &s->processes);
	if (r == 0)
		r = attach(s->skeleton->progs.sample_threads, &s->threads);
	if (r < 0)
		return r;
	*out = TAKE_PTR(s);
	return 0;
}

void sampler_close(struct sampler *s)
{
	if (!s)
		return;
	bpf_link__destroy(s->processes);
	bpf_link__destroy(s->threads);
	sample_bpf__destroy(s->skeleton);
	free(s->raw);
	free(s->samples);
	free(s);
}

int sampler_add(struct sampler *s, pid_t pid, uint64_t start_ticks)
{
	struct ct_watch watch = {.start_ticks = start_ticks};
	__u32 key = (__u32)pid;

	return bpf_map__update_elem(
		s->skeleton->maps.watched, &key, sizeof(key), &watch, sizeof(watch), BPF_ANY);
}

void sampler_remove(struct sampler *s, pid_t pid, uint64_t start_ticks)
{
	const struct bpf_map *map = s->skeleton->maps.watched;
	struct ct_watch watch;
	__u32 key = (__u32)pid;

	/* The id may be another process' by now. */
	if (bpf_map__lookup_elem(map, &key, sizeof(key), &watch, sizeof(watch), 0) == 0 &&
		watch.start_ticks == start_ticks)
		bpf_map__delete_elem(map, &key, sizeof(key), 0);
}

static int make_room(struct sampler *s, size_t used)
{
	size_t size = s->raw_size ? s->raw_size * 2 : 2 * READ_SIZE;
	char *bigger;

	if (s->raw_size - used >= READ_SIZE)
		return 0;
	bigger = realloc(s->raw, size);
	if (!bigger)
		return -ENOMEM;
	s->raw = bigger;
	s->raw_size = size;
	return 0;
}

/* One pass of an iterator; the records, of RECORD bytes each, are in s->raw. */
static int run_pass(struct sampler *s, const struct bpf_link *link, size_t record, size_t *n)
{
	_cleanup_close_ int fd = bpf_iter_create(bpf_link__fd(link));
	size_t used = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		int r = make_room(s, used);
		ssize_t got;

		if (r < 0)
			return r;
		got = read(fd, s->raw + used, s->raw_size - used);
		if (got == 0)
			break;
		/* EAGAIN: so many tasks were passed over that the kernel took a breath. */
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		used += got > 0 ? (size_t)got : 0;
	}
	*n = used / record;
	return used % record ? -EPROTO : 0;
}

static uint64_t bytes_of(const struct sampler *s, int64_t pages)
{
	return pages > 0 ? (uint64_t)pages * s->page
			 : 0; /* below 0: caught in the middle of a change */
}

/* More threads than the kernel side may walk: /proc adds them up, to the tick. */
static void read_cpu(struct sample *sample)
{
	_cleanup_process_ struct process process = PROCESS_NONE;
	struct stat_line line;

	if (process_open(sample->pid, &process) == 0 && stat_read(process.procfd, &line) == 0 &&
		line.start_ticks == sample->start_ticks)
		sample->cpu_ns = line.cpu_ticks * NSEC_PER_TICK;
}

static void take_sample(const struct sampler *s, const struct ct_sample *c, struct sample *out)
{
	*out = (struct sample){
		.pid = (pid_t)c->tgid,
		.start_ticks = c->start_ticks,
		.time_ns = c->time_ns,
		.cpu_ns = c->cpu_ns,
		.anonymous = bytes_of(s, c->pages[CT_PAGES_ANONYMOUS]),
		.file = bytes_of(s, c->pages[CT_PAGES_FILE]),
		.shared = bytes_of(s, c->pages[CT_PAGES_SHARED]),
		.swapped = bytes_of(s, c->pages[CT_PAGES_SWAPPED]),
		.threads = c->threads,
	};
	if (c->flags & CT_SAMPLE_CUT)
		read_cpu(out);
}

int sampler_read(struct sampler *s, const struct sample **out, size_t *n)
{
	const struct ct_sample *records;
	size_t count = 0;
	int r = run_pass(s, s->processes, sizeof(*records), &count);

	if (r < 0)
		return r;
	if (count > s->samples_size) {
		struct sample *bigger = reallocarray(s->samples, count, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		s->samples = bigger;
		s->samples_size = count;
	}
	records = (const struct ct_sample *)s->raw;
	for (size_t i = 0; i < count; i++)
		take_sample(s, &records[i], &s->samples[i]);
	*out = s->samples;
	*n = count;
	return 0;
}

int sampler_read_threads(
	struct sampler *s, pid_t pid, uint64_t start_ticks, struct thread_sample **out, size_t *n)
{
	const struct ct_thread *records;
	struct thread_sample *threads;
	size_t count = 0;
	int r;

	s->skeleton->bss->threads_tgid = (__u32)pid;
	s->skeleton->bss->threads_start_ticks = start_ticks;
	r = run_pass(s, s->threads, sizeof(*records), &count);
	if (r < 0)
		return r;
	threads = calloc(count ? count : 1, sizeof(*threads));
	if (!threads)
		return -ENOMEM;
	records = (const struct ct_thread *)s->raw;
	for (size_t i = 0; i < count; i++) {
		threads[i] = (struct thread_sample){.tid = (pid_t)records[i].tid,
			.time_ns = records[i].time_ns,
			.cpu_ns = records[i].cpu_ns};
		memcpy(threads[i].comm, records[i].comm, sizeof(threads[i].comm));
		threads[i].comm[sizeof(threads[i].comm) - 1] = '\0';
	}
	*out = threads;
	*n = count;
	return 0;
}
