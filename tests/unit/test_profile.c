/* SPDX-License-Identifier: MIT */
/* Who burned it: stacks of a running process, which is this program, compiled without frame
 * pointers. Needs root; skipped without. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "probe/perf_record.h"
#include "probe/profile.h"

#define NOINLINE __attribute__((noinline, noclone))

static volatile unsigned long sum;

static NOINLINE void hot_inner(unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		sum += i * i;
}

static NOINLINE void hot_outer(void)
{
	for (;;) {
		hot_inner(100000);
		sum++;
	}
}

static void *burn(void *unused)
{
	prctl(PR_SET_NAME, "bu;sy");
	hot_outer();
	return unused;
}

static void *wait_for_ever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void run(int go)
{
	pthread_t thread;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_create(&thread, NULL, wait_for_ever, NULL);
	/* The hot one begins when it is watched already. */
	if (read(go, &byte, 1) != 1 || pthread_create(&thread, NULL, burn, NULL) != 0)
		_exit(1);
	wait_for_ever(NULL);
}

static struct process start(int *go)
{
	struct process p = PROCESS_NONE;
	int fds[2];
	pid_t pid;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		run(fds[0]);
		_exit(0);
	}
	close(fds[0]);
	*go = fds[1];
	cr_assert_eq(process_open(pid, &p), 0);
	return p;
}

static void end(struct process *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	process_close(p);
}

Test(profile, names_the_hot_function)
{
	_cleanup_close_ int go = -1;
	_cleanup_free_ char *top = NULL;
	struct process p = start(&go);
	struct profile_result result = {0};
	struct profile *profile;

	cr_assert_eq(profile_start(&p, &profile), 0);
	cr_assert_eq(write(go, "g", 1), 1);
	for (int i = 0; i < 10; i++) {
		usleep(100000);
		profile_poll(profile);
	}
	cr_assert_eq(profile_finish(profile, 20 * NSEC_PER_SEC, &result), 0);
	profile_free(profile);
	end(&p);
	cr_assert_gt(result.samples, 10);
	cr_assert_leq(result.samples, 120); /* 99 a second */
	cr_assert_eq(result.kept, result.samples);
	cr_assert_eq(result.lost, 0);
	cr_assert_eq(result.threads_left_out, 0);
	top = strndup(result.folded, strcspn(result.folded, "\n"));
	cr_assert_eq(strncmp(top, "bu_sy;", 6), 0, "%s", top);
	cr_assert_not_null(strstr(top, ";burn;hot_outer;hot_inner "), "%s", top);
	cr_assert_geq(strtoull(strrchr(top, ' '), NULL, 10) * 10, result.samples * 8, "%s", top);
	free(result.folded);
}

/* As a capture does it: the kernel gives the buffers to no child. */
Test(profile, is_finished_by_a_child)
{
	_cleanup_close_ int go = -1;
	struct process p = start(&go);
	struct profile *profile;
	int status;
	pid_t pid;

	cr_assert_eq(profile_start(&p, &profile), 0);
	cr_assert_eq(write(go, "g", 1), 1);
	usleep(500000);
	profile_stop(profile);
	profile_poll(profile); /* of no avail, and no harm */
	usleep(300000);
	pid = fork();
	if (pid == 0) {
		struct profile_result result = {0};
		int r = profile_finish(profile, 20 * NSEC_PER_SEC, &result);

		/* None from behind the stop. */
		_exit(r < 0 || !strstr(result.folded, ";burn;hot_outer;hot_inner ") ||
			result.samples > 60);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	profile_free(profile);
	end(&p);
}

Test(profile, of_a_process_that_waits_is_empty)
{
	_cleanup_close_ int go = -1;
	struct process p = start(&go);
	struct profile_result result = {0};
	struct profile *profile;

	usleep(100000);
	cr_assert_eq(profile_start(&p, &profile), 0);
	usleep(100000);
	cr_assert_eq(profile_finish(profile, NSEC_PER_SEC, &result), 0);
	cr_assert_str_eq(result.folded, "");
	cr_assert_eq(result.samples, 0);
	free(result.folded);
	profile_free(profile);
	end(&p);
}

Test(profile, of_a_process_that_has_ended_is_refused)
{
	_cleanup_close_ int go = -1;
	struct process p = start(&go);
	struct profile *profile;

	kill(p.pid, SIGKILL);
	waitpid(p.pid, NULL, 0);
	cr_assert_eq(profile_start(&p, &profile), -ESRCH);
	process_close(&p);
}

Test(profile, records_are_not_trusted)
{
	struct {
		struct perf_event_header header;
		uint32_t pid, tid;
		uint64_t abi, registers[20], stack_size;
		char stack[16];
		uint64_t used;
	} r = {.header = {.type = PERF_RECORD_SAMPLE, .size = sizeof(r)},
		.pid = 7,
		.tid = 8,
		.abi = PERF_SAMPLE_REGS_ABI_64,
		.stack_size = 16,
		.used = 8};
	struct perf_sample s;

	r.registers[7] = 0x1000;
	cr_assert_eq(perf_record_parse(&r, sizeof(r), &s), 0);
	cr_assert_eq(s.pid, 7);
	cr_assert_eq(s.registers.tid, 8);
	cr_assert_eq(s.registers.regs.rsp, 0x1000);
	cr_assert_eq(s.stack_size, 8);
	r.used = UINT64_MAX;
	cr_assert_eq(perf_record_parse(&r, sizeof(r), &s), 0);
	cr_assert_eq(s.stack_size, 16);
	for (size_t size = 0; size < offsetof(__typeof__(r), used) - 16; size += 8)
		cr_assert_eq(perf_record_parse(&r, size, &s), -EINVAL);
	r.stack_size = UINT64_MAX - 7;
	cr_assert_eq(perf_record_parse(&r, sizeof(r), &s), -EINVAL);
	r.stack_size = 16;
	r.abi = PERF_SAMPLE_REGS_ABI_NONE; /* no user registers */
	cr_assert_eq(perf_record_parse(&r, sizeof(r), &s), -EINVAL);
}

Test(profile, records_wrap_around_the_ring)
{
	struct perf_event_header header = {.type = PERF_RECORD_LOST, .size = 24};
	uint64_t lost = 5, found = 0;
	char ring[64], out[PERF_RECORD_MAX];

	memset(ring, 0, sizeof(ring));
	memcpy(ring + 56, &header, sizeof(header));
	memcpy(ring + 8, &lost, sizeof(lost)); /* behind the id, at 0 */
	cr_assert_eq(perf_record_copy(ring, sizeof(ring), 56, 80, out), 24);
	cr_assert(perf_record_lost(out, 24, &found));
	cr_assert_eq(found, 5);
	cr_assert_eq(perf_record_copy(ring, sizeof(ring), 56, 72, out),
		0); /* larger than what is there */
	header.size = 0;
	memcpy(ring + 56, &header, sizeof(header));
	cr_assert_eq(perf_record_copy(ring, sizeof(ring), 56, 80, out), 0);
}
