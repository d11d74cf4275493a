/* SPDX-License-Identifier: MIT */
/* A process that uses what it is told to, one line of its input at a time; each is answered with
 * "at NANOSECONDS" (CLOCK_BOOTTIME) when it is so. What began goes on until the end.
 *   busy THREADS PERCENT      threads that are busy for that part of each 20 ms
 *   burst ON_MS OFF_MS        one thread that is busy, then not, and so on
 *   short MS                  threads that live and burn so long, one behind the other
 *   anonymous MIB | shared MIB | file MIB      memory, touched
 *   grow MIB MS               anonymous memory, evenly over that time
 *   release                   all of that memory
 *   threads N | fds N         so many more */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include "target.h"

#define MIB    (1UL << 20)
#define PERIOD 20000000L
#define BLOCKS 64

struct load {
	long on_ns, off_ns;
};

static struct {
	char *start;
	size_t size;
} blocks[BLOCKS];
static size_t block_count;

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void rest(long ns)
{
	const struct timespec ts = {ns / 1000000000, ns % 1000000000};

	nanosleep(&ts, NULL);
}

/* Until it has used so much of a processor: on a busy machine that takes longer. */
static noinline void burn_in_circles(long ns)
{
	uint64_t end = now_ns(CLOCK_THREAD_CPUTIME_ID) + (uint64_t)ns;

	while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end)
		for (volatile int i = 0; i < 1000; i++)
			;
}

static void *works(void *arg)
{
	const struct load *load = arg;

	for (;;) {
		burn_in_circles(load->on_ns);
		if (load->off_ns)
			rest(load->off_ns);
	}
	return NULL;
}

static void *burns_once(void *arg)
{
	burn_in_circles(*(long *)arg);
	return NULL;
}

static void *spawns(void *arg)
{
	for (;;) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, burns_once, arg))
			err(1, "pthread_create");
		pthread_join(thread, NULL);
	}
	return NULL;
}

static void *sleeps(void *arg)
{
	for (;;)
		sleep(1000);
	return arg;
}

static void start(void *(*body)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, arg))
		err(1, "pthread_create");
}

static void start_load(long on_ns, long off_ns)
{
	struct load *load = malloc(sizeof(*load));

	*load = (struct load){on_ns, off_ns};
	start(works, load);
}

static char *map(size_t size, int flags, int fd)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED || block_count == BLOCKS)
		errx(1, "no memory");
	madvise(p, size, MADV_NOHUGEPAGE);
	blocks[block_count].start = p;
	blocks[block_count++].size = size;
	return p;
}

static void touch(size_t size, int flags, int fd)
{
	memset(map(size, flags, fd), 1, size);
}

static void grow(size_t mib, long ms)
{
	char *p = map(mib * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	for (size_t i = 0; i < mib; i++) {
		memset(p + i * MIB, 1, MIB);
		rest(ms * 1000000 / (long)mib);
	}
}

static void map_file(size_t size)
{
	char name[] = "burn.XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		err(1, "file");
	touch(size, MAP_SHARED, fd);
}

static void release(void)
{
	while (block_count) {
		block_count--;
		munmap(blocks[block_count].start, blocks[block_count].size);
	}
}

static void obey(const char *word, long a, long b)
{
	static long length;

	if (strcmp(word, "busy") == 0)
		for (long i = 0; i < a; i++)
			start_load(PERIOD * b / 100, PERIOD - PERIOD * b / 100);
	else if (strcmp(word, "burst") == 0)
		start_load(a * 1000000, b * 1000000);
	else if (strcmp(word, "short") == 0)
		length = a * 1000000, start(spawns, &length);
	else if (strcmp(word, "anonymous") == 0)
		touch((size_t)a * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	else if (strcmp(word, "shared") == 0)
		touch((size_t)a * MIB, MAP_SHARED | MAP_ANONYMOUS, -1);
	else if (strcmp(word, "file") == 0)
		map_file((size_t)a * MIB);
	else if (strcmp(word, "grow") == 0)
		grow((size_t)a, b);
	else if (strcmp(word, "release") == 0)
		release();
	else if (strcmp(word, "threads") == 0)
		for (long i = 0; i < a; i++)
			start(sleeps, NULL);
	else if (strcmp(word, "fds") == 0)
		for (long i = 0; i < a; i++)
			if (open("/dev/null", O_RDONLY) < 0)
				err(1, "open");
}

int main(int argc, char **argv)
{
	char line[128], word[32];

	target_ready(&argc, &argv);
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t began = now_ns(CLOCK_BOOTTIME);
		long a = 0, b = 0;

		if (sscanf(line, "%31s %ld %ld", word, &a, &b) < 1)
			continue;
		obey(word, a, b);
		dprintf(STDOUT_FILENO, "at %llu\n", (unsigned long long)began);
	}
	return 0;
}
