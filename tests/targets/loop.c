/* SPDX-License-Identifier: MIT */
/* An event loop. `loop WAIT [OTHER…]`: the main thread waits for lines of its input, with epoll,
 * poll, select, or raw (epoll by syscall(2)), does what each says, and says "done".
 *   spin MS | sleep MS        stalls so long
 *   poll MS                   stalls in a poll() of its own
 *   naps MS                   stalls in many short sleeps
 *   repeat N MS               N stalls of so long, and nothing but a wait between them
 *   mortal MS                 begins a thread that is a loop for three seconds, stalls, and ends
 *   multi                     begins a thread: libc waits at another place from then on
 * OTHER is what further threads do:
 *   idle                      waits in a loop of its own
 *   full                      goes round a loop of its own without a pause
 *   busy:US                   the same, with so many microseconds of work each time
 *   park                      waits once, as a loop does, and then sleeps for ever
 *   turns                     two threads that take turns at one epoll: the other one sleeps */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include "target.h"

#define PATIENCE_MS 20 /* of a wait without events */

static const char *wait_kind;
static pthread_barrier_t begun;

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static noinline void spin(long us)
{
	uint64_t end = now_us() + (uint64_t)us;

	while (now_us() < end)
		;
}

static void sleep_us(long us)
{
	struct timespec ts = {us / 1000000, us % 1000000 * 1000};

	if (strcmp(wait_kind, "raw") == 0)
		syscall(SYS_nanosleep, &ts, NULL);
	else
		nanosleep(&ts, NULL);
}

static void poll_nothing(long ms)
{
	struct pollfd never;
	int ends[2];

	if (pipe(ends) < 0)
		err(1, "pipe");
	never = (struct pollfd){.fd = ends[0], .events = POLLIN};
	poll(&never, 1, (int)ms);
	close(ends[0]);
	close(ends[1]);
}

static noinline int wait_epoll(int epollfd, int timeout_ms)
{
	struct epoll_event event;

	return epoll_wait(epollfd, &event, 1, timeout_ms);
}

/* Whether there is input. */
static int wait_input(int epollfd)
{
	struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
	struct epoll_event event;
	struct timeval timeout = {.tv_usec = PATIENCE_MS * 1000};
	fd_set set;

	if (strcmp(wait_kind, "raw") == 0)
		return (int)syscall(SYS_epoll_wait, epollfd, &event, 1, PATIENCE_MS);
	if (strcmp(wait_kind, "epoll") == 0)
		return wait_epoll(epollfd, PATIENCE_MS);
	if (strcmp(wait_kind, "poll") == 0)
		return poll(&fd, 1, PATIENCE_MS);
	FD_ZERO(&set);
	FD_SET(STDIN_FILENO, &set);
	return select(1, &set, NULL, NULL, &timeout);
}

static void *rest(void *arg)
{
	pause();
	return arg;
}

static void *mortal(void *arg)
{
	int epollfd = epoll_create1(EPOLL_CLOEXEC);
	uint64_t end = now_us() + 3000000;

	while (now_us() < end)
		wait_epoll(epollfd, PATIENCE_MS);
	spin((long)(intptr_t)arg * 1000);
	return NULL;
}

static void begin_thread(void *(*run)(void *), long argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, (void *)(intptr_t)argument))
		err(1, "pthread_create");
}

static void do_line(const char *line, int epollfd)
{
	uint64_t end;
	long n, ms;

	if (sscanf(line, "spin %ld", &ms) == 1)
		spin(ms * 1000);
	else if (sscanf(line, "sleep %ld", &ms) == 1)
		sleep_us(ms * 1000);
	else if (sscanf(line, "poll %ld", &ms) == 1)
		poll_nothing(ms);
	else if (sscanf(line, "naps %ld", &ms) == 1)
		for (end = now_us() + (uint64_t)ms * 1000; now_us() < end;)
			sleep_us(3000);
	else if (strncmp(line, "multi", 5) == 0)
		begin_thread(rest, 0);
	else if (sscanf(line, "mortal %ld", &ms) == 1)
		begin_thread(mortal, ms);
	else if (sscanf(line, "repeat %ld %ld", &n, &ms) == 2)
		for (; n > 0; n--, wait_epoll(epollfd, 0))
			spin(ms * 1000);
	dprintf(STDOUT_FILENO, "done\n");
}

static void *other(void *arg)
{
	const char *what = arg;
	int epollfd = epoll_create1(EPOLL_CLOEXEC);
	long us;

	dprintf(STDOUT_FILENO, "thread %s %d\n", what, gettid());
	pthread_barrier_wait(&begun);
	if (strcmp(what, "park") == 0) {
		wait_epoll(epollfd, 1500);
		pause();
	}
	if (sscanf(what, "busy:%ld", &us) == 1)
		for (;; wait_epoll(epollfd, 0))
			spin(us);
	while (strcmp(what, "full") == 0)
		wait_epoll(epollfd, 0);
	for (;;)
		wait_epoll(epollfd, PATIENCE_MS);
	return NULL;
}

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int shared_epoll;

static void *take_turns(void *arg)
{
	for (;;) {
		pthread_mutex_lock(&turn);
		for (int i = 0; i < 100; i++) /* two seconds */
			wait_epoll(shared_epoll, PATIENCE_MS);
		pthread_mutex_unlock(&turn);
		sleep_us(1000); /* the mutex is not fair */
	}
	return arg;
}

int main(int argc, char **argv)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epollfd = epoll_create1(EPOLL_CLOEXEC);
	char line[128];

	wait_kind = argc > 1 ? argv[1] : "epoll";
	epoll_ctl(epollfd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
	shared_epoll = epoll_create1(EPOLL_CLOEXEC);
	pthread_barrier_init(&begun, NULL, 2);
	for (int i = 2; i < argc; i++) {
		bool turns = strcmp(argv[i], "turns") == 0;
		pthread_t thread;

		for (int n = turns ? 2 : 1; n > 0; n--)
			if (pthread_create(&thread, NULL, turns ? take_turns : other, argv[i]))
				err(1, "pthread_create");
		if (!turns)
			pthread_barrier_wait(&begun);
	}
	target_ready(&argc, &argv);
	setvbuf(stdin, NULL, _IONBF, 0);
	for (;;) {
		if (wait_input(epollfd) <= 0)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		do_line(line, epollfd);
	}
}
