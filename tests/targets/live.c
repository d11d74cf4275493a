/* SPDX-License-Identifier: MIT */
/* A process that goes on while it is captured, and tells what it noticed: at each line on its
 * input, "gap MICROSECONDS count N" with the longest time that its clock loop stood still since the
 * line before. live [memory MIB] [huge] [threads N] [dirty] [pair] [untouched GIB] */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "target.h"

#define PAGE 4096

static _Atomic uint64_t gap_ns, loops;
static char *memory;
static size_t size;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static noinline void *watches_the_clock(void *arg)
{
	uint64_t last = now_ns();

	for (;;) {
		uint64_t now = now_ns();

		if (now - last > gap_ns)
			gap_ns = now - last;
		last = now;
		loops++;
	}
	return arg;
}

static noinline void *sleeps(void *arg)
{
	for (;;)
		sleep(1000);
	return arg;
}

static noinline void *dirties(void *arg)
{
	for (unsigned int round = 1;; round++)
		for (size_t at = 0; at < size; at += PAGE)
			*(volatile unsigned int *)(memory + at) = round;
	return arg;
}

/* The first and the last word of the memory, moved together: at any instant, the first is equal to
 * the last or one ahead of it. */
static noinline void *moves_the_pair(void *arg)
{
	volatile uint64_t *first = (uint64_t *)memory,
			  *last = (uint64_t *)(memory + size - sizeof(uint64_t));

	for (uint64_t i = 1;; i++) {
		*first = i;
		atomic_thread_fence(memory_order_seq_cst);
		*last = i;
		atomic_thread_fence(memory_order_seq_cst);
	}
	return arg;
}

static void fill(void)
{
	uint64_t x = 88172645463325252u;

	/* Text-like: compresses, but not to nothing. */
	for (size_t i = 0; i < size; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		*(uint64_t *)(memory + i) = x & 0x0f0f0f0f0f0f0f0fu;
	}
}

static void start(void *(*body)(void *))
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	if (pthread_create(&thread, &attributes, body, NULL))
		err(1, "pthread_create");
}

static char *area(size_t bytes, int advice)
{
	char *p = mmap(NULL, bytes + (2u << 20), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	p = (char *)(((uintptr_t)p + (2u << 20) - 1) & ~(uintptr_t)((2u << 20) - 1));
	if (madvise(p, bytes, advice))
		err(1, "madvise");
	return p;
}

/* How long a bare fork() of this process stands the calling thread still. */
static void forks(void)
{
	uint64_t before = now_ns();
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	printf("fork %ju\n", (uintmax_t)((now_ns() - before) / 1000));
	waitpid(child, NULL, 0);
}

static void answer(void)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "fork\n") == 0)
			forks();
		else
			printf("gap %ju count %ju\n", (uintmax_t)(gap_ns / 1000), (uintmax_t)loops);
		fflush(stdout);
		gap_ns = 0;
	}
}

int main(int argc, char **argv)
{
	bool huge = false, dirty = false, pair = false, idle = false;
	size_t threads = 0;

	for (int i = 1; i < argc; i++) {
		size_t number = i + 1 < argc ? strtoul(argv[i + 1], NULL, 10) : 0;

		huge |= strcmp(argv[i], "huge") == 0;
		dirty |= strcmp(argv[i], "dirty") == 0;
		pair |= strcmp(argv[i], "pair") == 0;
		idle |= strcmp(argv[i], "idle") == 0;
		if (strcmp(argv[i], "memory") == 0)
			size = number << 20;
		if (strcmp(argv[i], "threads") == 0)
			threads = number;
		if (strcmp(argv[i], "untouched") == 0)
			area(number << 30, MADV_NOHUGEPAGE);
	}
	if (size) {
		memory = area(size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		fill();
	}
	for (size_t i = 0; i < threads; i++)
		start(sleeps);
	if (!idle)
		start(watches_the_clock);
	if (dirty)
		start(dirties);
	if (pair)
		start(moves_the_pair);
	printf("memory %p %zu\n", (void *)memory, size);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	answer();
	return 0;
}
