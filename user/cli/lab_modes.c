/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/lab.h"
#include "lib/clock.h"

#define SLICE_NS (10 * NSEC_PER_MSEC) /* of a cpu that is not wholly busy, and of growth */

static void sleep_ns(uint64_t ns)
{
	struct timespec t = {
		.tv_sec = (time_t)(ns / NSEC_PER_SEC), .tv_nsec = (long)(ns % NSEC_PER_SEC)};

	nanosleep(&t, NULL);
}

/* A frame with a name, to be found in the stack. */
__attribute__((noinline, noclone)) static void write_to(volatile int *nowhere)
{
	*nowhere = 1;
}

int lab_crash(const struct lab_options *o)
{
	sleep_ns(o->after_ns);
	write_to((volatile int *)8); /* a member of a struct that is not there */
	return EXIT_FAILED;
}

static void *burn(void *arg)
{
	const struct lab_options *o = arg;
	uint64_t busy = SLICE_NS * o->percent / 100;

	for (;;) {
		uint64_t start = clock_now_ns(CLOCK_MONOTONIC);

		while (clock_now_ns(CLOCK_MONOTONIC) - start < busy)
			;
		if (busy < SLICE_NS)
			sleep_ns(SLICE_NS - busy);
	}
	return NULL;
}

static int start_thread(void *(*body)(void *), const void *arg)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, body, (void *)arg);

	if (error)
		fprintf(stderr, "coretrap lab: no more threads: %s\n", strerror(error));
	return -error;
}

int lab_cpu(const struct lab_options *o)
{
	sleep_ns(o->after_ns);
	for (uint64_t i = 1; i < o->threads; i++)
		if (start_thread(burn, o) < 0)
			return EXIT_FAILED;
	burn((void *)o);
	return EXIT_FAILED;
}

int lab_memory(const struct lab_options *o)
{
	char *memory = mmap(NULL, o->size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t start, done = 0;

	if (memory == MAP_FAILED) {
		perror("coretrap lab: memory");
		return EXIT_FAILED;
	}
	sleep_ns(o->after_ns);
	start = clock_now_ns(CLOCK_MONOTONIC);
	while (done < o->size) {
		double due = (double)(clock_now_ns(CLOCK_MONOTONIC) - start) /
			     (double)NSEC_PER_SEC * (double)o->rate;
		uint64_t to = due < (double)o->size ? (uint64_t)due : o->size;

		memset(memory + done, 'm', to - done);
		done = to;
		sleep_ns(SLICE_NS);
	}
	for (;;)
		pause();
}

/* ---- a deadlock ---- */

struct lab_locks {
	pthread_mutex_t first, second;
	pthread_barrier_t both; /* each has its own lock, and wants the other's */
};

__attribute__((noinline, noclone)) static void take(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
}

static void *wait_for_first(void *arg)
{
	struct lab_locks *locks = arg;

	take(&locks->second);
	pthread_barrier_wait(&locks->both);
	take(&locks->first);
	return NULL;
}

int lab_hang(const struct lab_options *o)
{
	struct lab_locks locks = {
		.first = PTHREAD_MUTEX_INITIALIZER, .second = PTHREAD_MUTEX_INITIALIZER};

	sleep_ns(o->after_ns);
	if (pthread_barrier_init(&locks.both, NULL, 2) || start_thread(wait_for_first, &locks) < 0)
		return EXIT_FAILED;
	take(&locks.first);
	pthread_barrier_wait(&locks.both);
	take(&locks.second);
	return EXIT_FAILED;
}

int lab_exit(const struct lab_options *o)
{
	sleep_ns(o->after_ns);
	return (int)o->code;
}
