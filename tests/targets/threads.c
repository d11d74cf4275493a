/* SPDX-License-Identifier: MIT */
/* Four threads: one writes through a null pointer with a known pattern in ymm0, the others wait in
 * functions whose names a debugger must show. */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>

#include "target.h"

static sem_t never;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static int waiting;

static noinline void *waits_in_poll(void *arg)
{
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	poll(NULL, 0, -1);
	return arg;
}

static noinline void *waits_in_semaphore(void *arg)
{
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	sem_wait(&never);
	return arg;
}

static noinline void *waits_in_mutex(void *arg)
{
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&held);
	return arg;
}

static const uint8_t pattern[32] __attribute__((aligned(32))) = {
	0x10,
	0x11,
	0x12,
	0x13,
	0x14,
	0x15,
	0x16,
	0x17,
	0x18,
	0x19,
	0x1a,
	0x1b,
	0x1c,
	0x1d,
	0x1e,
	0x1f,
	0x20,
	0x21,
	0x22,
	0x23,
	0x24,
	0x25,
	0x26,
	0x27,
	0x28,
	0x29,
	0x2a,
	0x2b,
	0x2c,
	0x2d,
	0x2e,
	0x2f,
};

static noinline void writes_through_null(int *p)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vmovdqa %0, %%ymm0" : : "m"(pattern) : "xmm0");
#endif
	*(volatile int *)p = 42;
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	void *(*bodies[])(void *) = {waits_in_poll, waits_in_semaphore, waits_in_mutex};
	pthread_t thread;

	sem_init(&never, 0, 0);
	pthread_mutex_lock(&held);
	for (size_t i = 0; i < 3; i++)
		if (pthread_create(&thread, NULL, bodies[i], NULL))
			err(1, "pthread_create");
	while (__atomic_load_n(&waiting, __ATOMIC_SEQ_CST) < 3)
		usleep(1000);
	usleep(50000); /* from the count to the system call */
	target_ready(&argc, &argv);
	writes_through_null(NULL);
	return 0;
}
