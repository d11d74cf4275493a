/* SPDX-License-Identifier: MIT */
/* Functions that are entered, and left in many ways or not at all. The words after the mode are
 * milliseconds. */
#include "target.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/sdt.h>
#include <time.h>

static jmp_buf back;
static volatile int zero;

static noinline void pause_ms(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	if (ms)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
	__asm__ volatile("");
}

/* Several returns, on several paths. */
noinline int handle(long ms)
{
	if (ms < 0)
		return zero - 1;
	pause_ms(ms);
	if (zero)
		return 2;
	return zero + 1;
}

noinline long descend(long depth, long ms)
{
	long below;

	if (depth == 0) {
		pause_ms(ms);
		return zero;
	}
	below = descend(depth - 1, ms);
	pause_ms(ms);
	return below + 1;
}

/* Ends in a jump to what it calls last. */
__attribute__((optimize("optimize-sibling-calls"))) noinline int hand_on(long ms)
{
	zero = 0;
	return handle(ms);
}

noinline void throw_back(int value)
{
	pause_ms(1);
	if (value)
		longjmp(back, value);
	zero = 0;
}

/* Nothing but a jump. */
__attribute__((optimize("optimize-sibling-calls"))) noinline int alias(long ms)
{
	return handle(ms);
}

noinline void never(void)
{
	for (;;)
		pause();
}

static noinline void catch (void)
{
	if (setjmp(back) == 0)
		throw_back(1);
}

static void *in_thread(void *arg)
{
	for (;;)
		handle(*(long *)arg);
	return NULL;
}

/* The first thread ends, on a line or at once, the others go on. */
static void headless(long ms, long asks)
{
	pthread_t thread;
	char line[16];

	pthread_create(&thread, NULL, in_thread, memcpy(malloc(sizeof(ms)), &ms, sizeof(ms)));
	if (asks && read(0, line, sizeof(line)) <= 0)
		exit(0);
	pthread_exit(NULL);
}

static void threads(long n, long ms)
{
	pthread_t thread;

	for (long i = 0; i < n; i++)
		pthread_create(&thread, NULL, in_thread, &ms);
	for (;;)
		pause();
}

static void spin(void)
{
	for (;;)
		handle(-1);
}

/* Loads the library, calls it, and gives it back: as often as a line comes. */
static void load(const char *path, long ms)
{
	char line[16];

	for (;;) {
		void *library = dlopen(path, RTLD_NOW);
		int (*work)(long) = library ? (int (*)(long))dlsym(library, "work") : NULL;

		if (!work)
			exit(1);
		puts("loaded");
		if (read(0, line, sizeof(line)) <= 0)
			exit(0);
		work(ms);
		dlclose(library);
		puts("unloaded");
		if (read(0, line, sizeof(line)) <= 0)
			exit(0);
	}
}

static void probes(long ms)
{
	for (int job = 1;; job++) {
		DTRACE_PROBE1(inside, begin, job);
		DTRACE_PROBE1(inside, begin, job + 1000);
		pause_ms(ms);
		DTRACE_PROBE1(inside, end, job);
		DTRACE_PROBE1(inside, pause, job);
		pause_ms(1);
	}
}

int main(int argc, char **argv)
{
	const char *mode;
	long ms, other;

	setlinebuf(stdout);
	target_ready(&argc, &argv);
	mode = argc > 1 ? argv[1] : "";
	ms = argc > 2 ? atol(argv[2]) : 0;
	other = argc > 3 ? atol(argv[3]) : 0;
	if (strcmp(mode, "load") == 0)
		load(argv[3], ms);
	if (strcmp(mode, "threads") == 0)
		threads(other, ms);
	if (strcmp(mode, "headless") == 0)
		headless(ms, other);
	if (strcmp(mode, "spin") == 0)
		spin();
	if (strcmp(mode, "probes") == 0)
		probes(ms);
	for (long i = 1;; i++) {
		if (strcmp(mode, "handle") == 0)
			handle(other && i % 10 ? other : ms);
		else if (strcmp(mode, "descend") == 0)
			descend(5, ms);
		else if (strcmp(mode, "hand_on") == 0)
			hand_on(ms);
		else if (strcmp(mode, "throw") == 0)
			catch ();
		else
			never();
		pause_ms(1);
	}
}
