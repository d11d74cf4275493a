/* SPDX-License-Identifier: MIT */
#include "probe/profile.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "probe/perf_record.h"
#include "probe/profile_fold.h"
#include "target/maps.h"

#define FREQUENCY 99	     /* not 100, lest it keeps step with the tick */
#define RING_SIZE (1u << 20) /* bytes a CPU: a second of samples of one thread that never waits */

struct ring {
	int fd; /* the event that owns the buffer */
	struct perf_event_mmap_page *head;
};

struct profile {
	const struct process *process;
	int cpus;
	struct ring *rings; /* one a CPU */
	int *events;	    /* the others, which write into the rings */
	size_t event_count;
	struct perf_sample *kept; /* PROFILE_KEPT places */
	struct profile_result counts;
	uint64_t random;
	struct maps maps; /* as they were at the start, should the process be gone at the end */
};

static void cleanup_profile(struct profile **p)
{
	profile_free(*p);
}

static int open_event(pid_t tid, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.freq = 1,
		.sample_freq = FREQUENCY,
		.sample_type = PERF_RECORD_SAMPLE_TYPE,
		.sample_regs_user = PERF_RECORD_REGISTERS,
		.sample_stack_user = PROFILE_STACK,
		.inherit = 1, /* threads that begin later; a child process is one too: told apart by
				 its id */
		.exclude_hv = 1,
	};
	long fd = syscall(SYS_perf_event_open, &attr, tid, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

/* One event for each CPU, since only such can be inherited and still share a buffer. -ENODEV: that
 * CPU is offline. */
static int follow_on(struct profile *p, pid_t tid, int cpu)
{
	struct ring *ring = &p->rings[cpu];
	_cleanup_close_ int fd = open_event(tid, cpu);
	void *head;

	if (fd < 0)
		return fd;
	if (ring->head) {
		if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, ring->fd) < 0)
			return -errno;
		p->events[p->event_count++] = TAKE_FD(fd);
		return 0;
	}
	head = mmap(NULL, RING_SIZE + (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
		MAP_SHARED, fd, 0);
	if (head == MAP_FAILED)
		return -errno;
	ring->head = head;
	ring->fd = TAKE_FD(fd);
	return 0;
}

static int follow(struct profile *p, pid_t tid)
{
	if (p->event_count + (size_t)p->cpus > PROFILE_EVENTS) {
		p->counts.threads_left_out++;
		return 0;
	}
	for (int cpu = 0; cpu < p->cpus; cpu++) {
		int r = follow_on(p, tid, cpu);

		if (r < 0 && r != -ENODEV)
			return r == -ESRCH ? 0 : r; /* the thread has ended */
	}
	return 0;
}

struct thread {
	pid_t tid;
	uint64_t used_ns;
};

static int compare_used(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;

	return x->used_ns > y->used_ns ? -1 : x->used_ns < y->used_ns;
}

static uint64_t read_used(int tasksfd, pid_t tid)
{
	_cleanup_free_ char *text = NULL;
	char name[64];

	snprintf(name, sizeof(name), "%d/schedstat", tid);
	return io_read_file_at(tasksfd, name, 128, &text, NULL) < 0 ? 0 : strtoull(text, NULL, 10);
}

static int list_threads(int procfd, struct thread **out, size_t *n)
{
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_free_ struct thread *v = NULL;
	const struct dirent *entry;
	size_t count = 0, size = 0;
	int r = io_open_dir_at(procfd, "task", &dir);

	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (count == size) {
			struct thread *bigger =
				reallocarray(v, size = size ? 2 * size : 64, sizeof(*v));

			if (!bigger)
				return -ENOMEM;
			v = bigger;
		}
		v[count].tid = (pid_t)strtol(entry->d_name, NULL, 10);
		v[count].used_ns = read_used(dirfd(dir), v[count].tid);
		count++;
	}
	if (count)
		qsort(v, count, sizeof(*v), compare_used);
	*out = TAKE_PTR(v);
	*n = count;
	return count ? 0 : -ESRCH;
}

/* Missed is a thread that begins behind the list's reading and before its parent is followed: a
 * window of milliseconds, and a second look could not tell it from those that are inherited. */
static int follow_all(struct profile *p)
{
	_cleanup_free_ struct thread *threads = NULL;
	size_t n = 0;
	int r = list_threads(p->process->procfd, &threads, &n);

	for (size_t i = 0; i < n && r == 0; i++)
		r = follow(p, threads[i].tid);
	return r;
}

int profile_start(const struct process *process, struct profile **out)
{
	_cleanup_(cleanup_profile) struct profile *p = calloc(1, sizeof(*p));
	_cleanup_close_ int taskfd = process_open_live_task(process, NULL);
	int r;

	if (!p)
		return -ENOMEM;
	if (taskfd < 0)
		return taskfd;
	p->process = process;
	p->random = process->start_ticks | 1;
	p->cpus = (int)sysconf(_SC_NPROCESSORS_CONF);
	p->rings = calloc((size_t)p->cpus, sizeof(*p->rings));
	p->events = calloc(PROFILE_EVENTS, sizeof(*p->events));
	p->kept = calloc(PROFILE_KEPT, sizeof(*p->kept));
	if (!p->rings || !p->events || !p->kept)
		return -ENOMEM;
	r = maps_read(taskfd, false, &p->maps);
	if (r == 0)
		r = follow_all(p);
	if (r < 0)
		return r;
	*out = TAKE_PTR(p);
	return 0;
}

/* xorshift: which samples are kept must only not depend on what the process does. */
static uint64_t next_random(struct profile *p)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return p->random;
}

/* The place of the next sample, or NULL: reservoir sampling, so that each has the same chance. */
static struct perf_sample *place_for(struct profile *p)
{
	uint64_t at = p->counts.samples++;

	if (at >= PROFILE_KEPT)
		at = next_random(p) % p->counts.samples;
	return at < PROFILE_KEPT ? &p->kept[at] : NULL;
}

static void take_record(struct profile *p, const void *record, size_t size)
{
	struct perf_sample sample, *place;
	uint64_t lost;

	if (perf_record_lost(record, size, &lost)) {
		p->counts.lost += lost;
		return;
	}
	if (perf_record_parse(record, size, &sample) < 0 || sample.pid != p->process->pid)
		return;
	place = place_for(p);
	if (!place)
		return;
	perf_sample_free(place);
	if (perf_sample_keep(&sample, p->process->procfd, place) < 0)
		p->counts.lost++;
}

void profile_poll(struct profile *p)
{
	for (int cpu = 0; cpu < p->cpus; cpu++) {
		struct perf_event_mmap_page *head = p->rings[cpu].head;
		uint64_t end, at;

		if (!head)
			continue;
		end = __atomic_load_n(&head->data_head, __ATOMIC_ACQUIRE);
		for (at = head->data_tail; at < end;) {
			char copy[PERF_RECORD_MAX];
			const char *data = (const char *)head + head->data_offset;
			size_t size = perf_record_copy(data, head->data_size, at, end, copy);

			if (!size)
				break;
			take_record(p, copy, size);
			at += size;
		}
		__atomic_store_n(&head->data_tail, end, __ATOMIC_RELEASE);
	}
}

/* A copy of a descriptor that some child has must not keep the event going. */
static void disable(struct profile *p)
{
	for (int cpu = 0; p->rings && cpu < p->cpus; cpu++)
		if (p->rings[cpu].head)
			ioctl(p->rings[cpu].fd, PERF_EVENT_IOC_DISABLE, 0);
	for (size_t i = 0; i < p->event_count; i++)
		ioctl(p->events[i], PERF_EVENT_IOC_DISABLE, 0);
}

static void close_events(struct profile *p)
{
	for (size_t i = 0; i < p->event_count; i++)
		close(p->events[i]);
	p->event_count = 0;
	for (int cpu = 0; p->rings && cpu < p->cpus; cpu++) {
		struct ring *ring = &p->rings[cpu];

		if (!ring->head)
			continue;
		munmap(ring->head, RING_SIZE + (size_t)sysconf(_SC_PAGESIZE));
		close(ring->fd);
		ring->head = NULL;
	}
}

void profile_stop(struct profile *p)
{
	disable(p);
	profile_poll(p);
	close_events(p);
}

int profile_finish(struct profile *p, uint64_t timeout_ns, struct profile_result *out)
{
	size_t n;
	int r;

	profile_stop(p);
	n = p->counts.samples < PROFILE_KEPT ? (size_t)p->counts.samples : PROFILE_KEPT;
	r = profile_fold(
		p->process, &p->maps, p->kept, n, timeout_ns, &p->counts.folded, &p->counts.kept);
	if (r < 0)
		return r;
	*out = p->counts;
	p->counts.folded = NULL;
	return 0;
}

void profile_free(struct profile *p)
{
	if (!p)
		return;
	disable(p);
	close_events(p);
	for (size_t i = 0; p->kept && i < PROFILE_KEPT; i++)
		perf_sample_free(&p->kept[i]);
	maps_free(&p->maps);
	free(p->rings);
	free(p->events);
	free(p->kept);
	free(p);
}
