/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

static uint64_t end_ns(pid_t child)
{
	uint64_t begin = clock_now_ns(CLOCK_MONOTONIC);

	child_end(child, "test");
	return clock_now_ns(CLOCK_MONOTONIC) - begin;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		for (;;)
			pause();
	}
	return pid;
}

Test(child, is_reaped)
{
	pid_t child = sleeper();

	cr_expect_lt(end_ns(child), NSEC_PER_SEC);
	cr_expect_eq(waitpid(child, NULL, 0), -1);
}

Test(child, that_ended_before_is_reaped)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	waitid(P_PID, (id_t)child, &(siginfo_t){}, WEXITED | WNOWAIT);
	cr_expect_lt(end_ns(child), NSEC_PER_SEC);
	cr_expect_eq(waitpid(child, NULL, 0), -1);
}

/* Holds PID at its end, whatever signal it gets: as a disk that hangs would. */
static pid_t hold_at_end(pid_t pid)
{
	int ready[2];
	pid_t tracer;
	char byte;

	cr_assert_eq(pipe(ready), 0);
	tracer = fork();
	if (tracer == 0) {
		if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACEEXIT) < 0)
			_exit(1);
		io_write_all(ready[1], "r", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	cr_assert_eq(io_read_exact(ready[0], &byte, 1), 0, "no tracer");
	close(ready[0]);
	return tracer;
}

Test(child, that_does_not_end_is_left_behind)
{
	pid_t child = sleeper(), tracer = hold_at_end(child);
	uint64_t took = end_ns(child);

	cr_expect_geq(took, 2 * NSEC_PER_SEC);
	cr_expect_lt(took, 10 * NSEC_PER_SEC);
	cr_expect_eq(waitpid(child, NULL, WNOHANG), 0, "it still is there");
	child_end(tracer, "test");
	cr_expect_eq(waitpid(child, NULL, 0), child, "and ends as soon as it can");
}
