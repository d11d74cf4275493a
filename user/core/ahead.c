/* SPDX-License-Identifier: MIT */
#include "core/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/cleanup.h"

/* What is read in the background belongs to the thread between the two semaphores. */
struct ahead {
	struct memory *memory;
	char *buffers[2];
	int spare; /* which buffer the next read fills */
	pthread_t thread;
	bool has_thread, pending, ended;
	sem_t asked, answered;
	uint64_t address;
	size_t len;
	ssize_t result;
};

static void wait_for(sem_t *s)
{
	while (sem_wait(s) < 0 && errno == EINTR)
		;
}

static void *read_ahead(void *arg)
{
	struct ahead *a = arg;

	for (;;) {
		wait_for(&a->asked);
		if (a->ended)
			return NULL;
		a->result = a->memory->read(a->memory, a->address, a->buffers[a->spare], a->len);
		sem_post(&a->answered);
	}
}

/* Signals are for the threads that expect them. */
static bool start_thread(struct ahead *a)
{
	sigset_t all, before;
	bool started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&a->thread, NULL, read_ahead, a) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

int ahead_open(struct memory *memory, size_t buffer_size, struct ahead **out)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->memory = memory;
	sem_init(&a->asked, 0, 0);
	sem_init(&a->answered, 0, 0);
	for (int i = 0; i < 2; i++)
		a->buffers[i] = aligned_alloc(MEMORY_PAGE, buffer_size);
	if (!a->buffers[0] || !a->buffers[1]) {
		ahead_free(&a);
		return -ENOMEM;
	}
	a->has_thread = start_thread(a);
	*out = a;
	return 0;
}

void ahead_start(struct ahead *a, uint64_t address, size_t len)
{
	if (!a->has_thread)
		return;
	a->address = address;
	a->len = len;
	a->pending = true;
	sem_post(&a->asked);
}

static void collect(struct ahead *a)
{
	if (a->pending)
		wait_for(&a->answered);
	a->pending = false;
}

ssize_t ahead_take(struct ahead *a, uint64_t address, size_t len, const char **data)
{
	bool ready = a->pending && a->address == address && a->len == len;

	collect(a);
	if (!ready)
		a->result = a->memory->read(a->memory, address, a->buffers[a->spare], len);
	*data = a->buffers[a->spare];
	a->spare = !a->spare;
	return a->result;
}

void ahead_free(struct ahead **at)
{
	struct ahead *a = *at;

	if (!a)
		return;
	collect(a);
	if (a->has_thread) {
		a->ended = true;
		sem_post(&a->asked);
		pthread_join(a->thread, NULL);
	}
	sem_destroy(&a->asked);
	sem_destroy(&a->answered);
	free(a->buffers[0]);
	free(a->buffers[1]);
	free(a);
	*at = NULL;
}
