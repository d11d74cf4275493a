/* SPDX-License-Identifier: MIT */
/* The sampler against processes whose use is known. Needs root and a kernel with BTF; skipped
 * without. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "probe/sampler.h"
#include "target/process.h"

#define MIB (1ULL << 20)
#define STALE_NS \
	(20 * NSEC_PER_MSEC) /* a running thread's time is brought up to date by the tick */
#ifdef __SANITIZE_ADDRESS__
#define OWN_MEMORY (512 * MIB) /* of the test program itself, at most */
#else
#define OWN_MEMORY (8 * MIB)
#endif
#define SHORT_NS  (30 * NSEC_PER_MSEC)
#define DEAD_NAME "gone"

static void cleanup_sampler(struct sampler **s)
{
	sampler_close(*s);
}

#define _cleanup_sampler_ _cleanup_(cleanup_sampler)

static struct sampler *open_sampler(void)
{
	struct sampler *s = NULL;
	int r;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	r = sampler_open(&s);
	cr_assert_eq(r, 0, "sampler_open: %s", strerror(-r));
	return s;
}

/* The child runs BODY; *READY is a pipe that it closes, or writes to, once it is as it is to be. */
static struct process start(void (*body)(int ready))
{
	struct process p = PROCESS_NONE;
	char byte;
	int fds[2];
	pid_t pid;

	cr_assert_eq(pipe(fds), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		body(fds[1]);
		_exit(0);
	}
	close(fds[1]);
	cr_assert_geq(read(fds[0], &byte, 1), 0);
	close(fds[0]);
	cr_assert_eq(process_open(pid, &p), 0);
	return p;
}

static void end(struct process *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	process_close(p);
}

static bool read_one(struct sampler *s, const struct process *p, struct sample *out)
{
	const struct sample *v;
	size_t n;
	int r = sampler_read(s, &v, &n);

	cr_assert_eq(r, 0, "sampler_read: %s", strerror(-r));
	for (size_t i = 0; i < n; i++)
		if (v[i].pid == p->pid && v[i].start_ticks == p->start_ticks) {
			*out = v[i];
			return true;
		}
	return false;
}

static uint64_t cpu_clock(pid_t pid)
{
	clockid_t clock;

	cr_assert_eq(clock_getcpuclockid(pid, &clock), 0);
	return clock_now_ns(clock);
}

/* The kernel's own clock of the process, which brings running threads up to date, is the measure.
 */
static void assert_follows_clock(void (*body)(int), uint64_t running)
{
	_cleanup_sampler_ struct sampler *s = open_sampler();
	struct process p = start(body);
	struct sample sample = {0};
	uint64_t last = 0;

	cr_assert_eq(sampler_add(s, p.pid, p.start_ticks), 0);
	for (int i = 0; i < 20; i++) {
		uint64_t before, after;

		usleep(50000);
		before = cpu_clock(p.pid);
		cr_assert(read_one(s, &p, &sample));
		after = cpu_clock(p.pid);
		cr_assert_leq(sample.cpu_ns, after);
		cr_assert_geq(sample.cpu_ns + running * STALE_NS, before);
		cr_assert_geq(sample.cpu_ns, last);
		last = sample.cpu_ns;
	}
	cr_assert_gt(last, 100 * NSEC_PER_MSEC); /* it did burn */
	end(&p);
}

static void *burn(void *until_ns)
{
	while (clock_now_ns(CLOCK_THREAD_CPUTIME_ID) < (uint64_t)(uintptr_t)until_ns)
		;
	return NULL;
}

static void short_threads(int ready)
{
	pthread_t thread;

	close(ready);
	for (;;) {
		if (pthread_create(&thread, NULL, burn, (void *)(uintptr_t)SHORT_NS) != 0)
			_exit(1);
		pthread_join(thread, NULL);
	}
}

Test(sampler, counts_threads_that_have_ended)
{
	assert_follows_clock(short_threads, 1);
}

/* An eighth of the time each. */
static void *burn_a_little(void *unused)
{
	struct timespec rest = {.tv_nsec = 7000000};

	(void)unused;
	for (;;) {
		burn((void *)(uintptr_t)(clock_now_ns(CLOCK_THREAD_CPUTIME_ID) + NSEC_PER_MSEC));
		nanosleep(&rest, NULL);
	}
	return NULL;
}

static void eight_threads(int ready)
{
	pthread_t thread;

	for (int i = 0; i < 8; i++)
		if (pthread_create(&thread, NULL, burn_a_little, NULL) != 0)
			_exit(1);
	close(ready);
	for (;;)
		pause();
}

Test(sampler, adds_up_threads)
{
	assert_follows_clock(eight_threads, 8);
}

static void *rests(void *unused)
{
	for (;;)
		pause();
	return unused;
}

/* More than the kernel side walks: /proc counts for it. Few of them are busy, for the sake of the
 * machine. */
static void many_threads(int ready)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	for (int i = 0; i < 1500; i++)
		if (pthread_create(&thread, &attributes, i % 500 ? rests : burn_a_little, NULL))
			_exit(1);
	close(ready);
	for (;;)
		pause();
}

Test(sampler, knows_no_limit_of_threads)
{
	_cleanup_sampler_ struct sampler *s = open_sampler();
	struct process p = start(many_threads);
	struct sample first, second;
	uint64_t before, after;

	cr_assert_eq(sampler_add(s, p.pid, p.start_ticks), 0);
	cr_assert(read_one(s, &p, &first));
	before = cpu_clock(p.pid);
	usleep(300000);
	after = cpu_clock(p.pid);
	cr_assert(read_one(s, &p, &second));
	cr_assert_eq(second.threads, 1501);
	cr_assert_geq(second.cpu_ns - first.cpu_ns + 100 * NSEC_PER_MSEC, after - before);
	cr_assert_leq(second.cpu_ns, cpu_clock(p.pid) + 20 * NSEC_PER_MSEC);
	end(&p);
}

static void grow(int ready)
{
	char *p = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *q = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || q == MAP_FAILED)
		_exit(1);
	memset(p, 1, 64 * MIB);
	memset(q, 1, 32 * MIB);
	close(ready);
	for (;;)
		pause();
}

Test(sampler, tells_kinds_of_memory_apart)
{
	_cleanup_sampler_ struct sampler *s = open_sampler();
	struct process p = start(grow);
	struct sample sample = {0};

	cr_assert_eq(sampler_add(s, p.pid, p.start_ticks), 0);
	cr_assert(read_one(s, &p, &sample));
	cr_assert_geq(sample.anonymous, 64 * MIB);
	cr_assert_lt(sample.anonymous, 64 * MIB + OWN_MEMORY);
	cr_assert_geq(sample.shared, 32 * MIB);
	cr_assert_lt(sample.shared, 36 * MIB);
	cr_assert_gt(sample.file, 0);
	cr_assert_eq(sample.swapped, 0);
	cr_assert_eq(sample.threads, 1);
	end(&p);
}

static void *hold_memory(void *ready)
{
	usleep(100000); /* until the leader has ended */
	grow((int)(intptr_t)ready);
	return NULL;
}

static void leave_leader(int ready)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, hold_memory, (void *)(intptr_t)ready) != 0)
		_exit(1);
	pthread_exit(NULL);
}

Test(sampler, does_without_the_leader)
{
	_cleanup_sampler_ struct sampler *s = open_sampler();
	struct process p = start(leave_leader);
	struct sample sample = {0};

	cr_assert_eq(sampler_add(s, p.pid, p.start_ticks), 0);
	cr_assert(read_one(s, &p, &sample));
	cr_assert_geq(sample.anonymous, 64 * MIB);
	end(&p);
}

Test(sampler, knows_a_process_by_its_start)
{
	_cleanup_sampler_ struct sampler *s = open_sampler();
	struct process p = start(grow);
	struct sample sample;

	cr_assert_not(read_one(s, &p, &sample));
	cr_assert_eq(sampler_add(s, p.pid, p.start_ticks - 1), 0);
	cr_assert_not(read_one(s, &p, &sample));
	cr_assert_eq(sampler_add(s, p.pid, p.start_ticks), 0);
	sampler_remove(s, p.pid, p.start_ticks - 1);
	cr_assert(read_one(s, &p, &sample));
	sampler_remove(s, p.pid, p.start_ticks);
	cr_assert_not(read_one(s, &p, &sample));
	cr_assert_eq(sampler_add(s, p.pid, p.start_ticks), 0);
	kill(p.pid, SIGKILL);
	waitid(P_PID, (id_t)p.pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
	cr_assert_not(read_one(s, &p, &sample), "a zombie is sampled");
	end(&p);
}

static void one_hot_thread(int ready)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, burn, (void *)(uintptr_t)INT64_MAX) != 0)
		_exit(1);
	pthread_setname_np(thread, "hot");
	close(ready);
	for (;;)
		pause();
}

Test(sampler, tells_who_burned_it)
{
	_cleanup_sampler_ struct sampler *s = open_sampler();
	_cleanup_free_ struct thread_sample *before = NULL, *after = NULL;
	struct process p = start(one_hot_thread);
	size_t n;

	cr_assert_eq(sampler_read_threads(s, p.pid, p.start_ticks, &before, &n), 0);
	cr_assert_eq(n, 2);
	usleep(300000);
	cr_assert_eq(sampler_read_threads(s, p.pid, p.start_ticks, &after, &n), 0);
	cr_assert_eq(n, 2);
	cr_assert_eq(after[0].tid, p.pid);
	cr_assert_str_eq(after[1].comm, "hot");
	cr_assert_lt(after[0].cpu_ns - before[0].cpu_ns, 10 * NSEC_PER_MSEC);
	cr_assert_gt(after[1].cpu_ns - before[1].cpu_ns, 30 * NSEC_PER_MSEC);
	end(&p);
}
