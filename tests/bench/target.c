/* SPDX-License-Identifier: MIT */
/* What make bench captures: memory of a given size and kind, threads, a load, and a clock whose
 * longest gap is how long the process stood still. Commands are lines on standard input:
 * gap: prints the longest gap since the last command, in ns, and starts anew;
 * fork: the same, across a fork() whose child ends at once: "FORK-NS GAP-NS".
 * The end of the input ends it. */
#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE	   4096UL
#define HUGE_PAGE  (2UL << 20)
#define TICK_NS	   50000 /* sleep between two looks at the clock: the resolution */
#define SMALLSTACK (64UL << 10)

enum content {
	RANDOM,
	TEXT,
	MIXED
};

struct options {
	size_t size, touched; /* bytes */
	bool huge, dirty;
	int threads;
	enum content content;
};

struct clock_loop {
	_Atomic uint64_t longest; /* ns */
};

struct area {
	char *start;
	size_t size;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A real-time thread that sleeps most of the time: other load on the machine delays it by
 * microseconds, and it takes no processor from what is measured. */
static void *watch_clock(void *arg)
{
	const struct sched_param priority = {.sched_priority = 1};
	const struct timespec tick = {.tv_nsec = TICK_NS};
	struct clock_loop *c = arg;
	uint64_t last = now_ns();

	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority))
		warnx("no real-time clock: gaps include the scheduler's");
	for (;;) {
		uint64_t now = now_ns(), gap = now - last,
			 longest = atomic_load_explicit(&c->longest, memory_order_relaxed);

		last = now;
		while (gap > longest && !atomic_compare_exchange_weak(&c->longest, &longest, gap))
			;
		nanosleep(&tick, NULL);
	}
	return NULL;
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Mixed: of four words one is random, one a pointer, one a small number, one text. */
static uint64_t word_of(enum content content, size_t i, uint64_t *x)
{
	static const char text[] = "key=session user=alice state=ready retry=0 path=/api/v1/items ";
	uint64_t word;

	if (content == RANDOM || (content == MIXED && i % 4 == 0))
		return next_random(x);
	if (content == MIXED && i % 4 == 1)
		return 0x7f0000000000 + (next_random(x) & 0xfffff0);
	if (content == MIXED && i % 4 == 2)
		return next_random(x) & 0xff;
	memcpy(&word, text + (next_random(x) & 7) * 6, sizeof(word));
	return word;
}

static struct area make_area(const struct options *o)
{
	const size_t room = o->size + HUGE_PAGE;
	char *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t x = 88172645463325252U;

	if (p == MAP_FAILED)
		err(1, "mmap");
	p = (char *)(((uintptr_t)p + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (madvise(p, o->size, o->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		err(1, "madvise");
	for (size_t i = 0; i < o->touched / sizeof(uint64_t); i++)
		((uint64_t *)p)[i] = word_of(o->content, i, &x);
	return (struct area){p, o->touched};
}

static void *dirty(void *arg)
{
	const struct area *area = arg;

	for (;;)
		for (size_t i = 0; i < area->size; i += PAGE)
			(*(volatile char *)(area->start + i))++;
	return NULL;
}

static void *idle(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void start(void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, SMALLSTACK);
	if (pthread_create(&thread, &attr, run, arg))
		errx(1, "pthread_create");
	pthread_attr_destroy(&attr);
}

static uint64_t time_fork(void)
{
	uint64_t began = now_ns(), ns;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	ns = now_ns() - began;
	if (pid < 0)
		err(1, "fork");
	waitpid(pid, NULL, 0);
	return ns;
}

static void parse(int argc, char **argv, struct options *o)
{
	int c;

	*o = (struct options){.size = 64UL << 20, .threads = 1, .content = MIXED};
	while ((c = getopt(argc, argv, "s:t:Hdn:c:")) != -1) {
		if (c == 's')
			o->size = strtoul(optarg, NULL, 10) << 20;
		else if (c == 't')
			o->touched = strtoul(optarg, NULL, 10) << 20;
		else if (c == 'H')
			o->huge = true;
		else if (c == 'd')
			o->dirty = true;
		else if (c == 'n')
			o->threads = atoi(optarg);
		else if (c == 'c' && strchr("rtm", *optarg))
			o->content = *optarg == 'r' ? RANDOM : *optarg == 't' ? TEXT : MIXED;
		else
			errx(2, "target [-s MIB] [-t TOUCHED-MIB] [-H] [-d] [-n THREADS] [-c "
				"r|t|m]");
	}
	if (!o->touched || o->touched > o->size)
		o->touched = o->size;
}

int main(int argc, char **argv)
{
	struct clock_loop clock_loop = {0};
	struct options o;
	struct area area;
	char line[64];

	parse(argc, argv, &o);
	area = make_area(&o);
	start(watch_clock, &clock_loop);
	/* One thread means: besides this one and the clock's. */
	for (int i = 1; i < o.threads; i++)
		start(idle, NULL);
	if (o.dirty)
		start(dirty, &area);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "fork\n") == 0) {
			uint64_t ns;

			atomic_exchange(&clock_loop.longest, 0);
			ns = time_fork();
			printf("%lu ", (unsigned long)ns);
		}
		printf("%lu\n", (unsigned long)atomic_exchange(&clock_loop.longest, 0));
		fflush(stdout);
	}
	return 0;
}
