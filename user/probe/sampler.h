/* SPDX-License-Identifier: MIT */
/* What the watched processes use, read by one pass of a BPF iterator over the tasks: nothing is
 * added to a context switch. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Counters of one process at one moment. */
struct sample {
	pid_t pid;
	uint64_t start_ticks; /* as /proc/PID/stat has it: with PID, the key */
	uint64_t time_ns;     /* CLOCK_BOOTTIME, when the kernel side read it */
	uint64_t cpu_ns;      /* the scheduler's own, of the live threads and of those that ended */
	uint64_t anonymous, file, shared,
		swapped; /* bytes of the mm; 0 where it has none any more */
	uint64_t threads;
};

struct sampler;

/* 0 or -errno, as probe_open(). */
int sampler_open(struct sampler **out);
void sampler_close(struct sampler *s); /* NULL-safe */

/* Which processes are sampled; -E2BIG: the table is full. */
int sampler_add(struct sampler *s, pid_t pid, uint64_t start_ticks);
void sampler_remove(struct sampler *s, pid_t pid, uint64_t start_ticks);

/* One pass. *OUT is the sampler's own and good until the next pass; in no order, without those that
 * have ended. 0 or -errno. */
int sampler_read(struct sampler *s, const struct sample **out, size_t *n);

/* Time of one thread, for blame. */
struct thread_sample {
	pid_t tid;
	char comm[16];
	uint64_t time_ns; /* CLOCK_BOOTTIME */
	uint64_t cpu_ns;
};

/* The live threads of one process; *OUT is the caller's to free(). 0 or -errno. */
int sampler_read_threads(
	struct sampler *s, pid_t pid, uint64_t start_ticks, struct thread_sample **out, size_t *n);
