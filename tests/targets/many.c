/* SPDX-License-Identifier: MIT */
/* many threads N | many maps N: then a crash. */
#include <pthread.h>
#include <sys/mman.h>

#include "target.h"

static int waiting;

static void *waits(void *arg)
{
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
	return arg;
}

static void make_threads(int n)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < n; i++)
		if (pthread_create(&thread, &attr, waits, NULL))
			errx(1, "thread %d", i);
	while (__atomic_load_n(&waiting, __ATOMIC_SEQ_CST) < n)
		usleep(1000);
}

/* Neighbours differ in protection, so that the kernel cannot merge them; each page says which it
 * is. */
static void make_maps(int n)
{
	char *p = mmap(
		NULL, (size_t)n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	for (int i = 0; i < n; i++)
		*(int *)(p + (size_t)i * 4096) = i + 1;
	for (int i = 0; i < n; i += 2)
		if (mprotect(p + (size_t)i * 4096, 4096, PROT_READ))
			err(1, "mprotect");
	dprintf(STDOUT_FILENO, "base %p\n", (void *)p);
}

static noinline void crashes_with_many(void)
{
	*(volatile int *)0 = 1;
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[argc - 1]) : 0;

	if (argc < 3)
		errx(2, "usage: many threads|maps N");
	if (strcmp(argv[argc - 2], "threads") == 0)
		make_threads(n);
	else
		make_maps(n);
	target_ready(&argc, &argv);
	crashes_with_many();
	return 0;
}
