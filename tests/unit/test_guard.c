/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/handler_guard.h"
#include "lib/clock.h"
#include "lib/io.h"

/* How a process ends that is guarded for so long, and then does that. */
static int end_of_ward(uint64_t guarded_ns, void (*act)(int tie))
{
	pid_t ward = fork();
	int status = 0, tie = -1;

	if (ward == 0) {
		if (guard_start(clock_now_ns(CLOCK_MONOTONIC) + guarded_ns, &tie) < 0)
			_exit(1);
		act(tie);
		_exit(0);
	}
	cr_assert_eq(waitpid(ward, &status, 0), ward);
	return status;
}

static void stop(int tie)
{
	(void)tie;
	raise(SIGSTOP);
}

static void outlive_the_deadline(int tie)
{
	close(tie);
	usleep(600000);
}

static void end_in_time(int tie)
{
	(void)tie;
}

Test(guard, a_stopped_ward_is_killed, .timeout = 10)
{
	int status = end_of_ward(300 * NSEC_PER_MSEC, stop);

	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
}

Test(guard, ends_with_its_tie, .timeout = 10)
{
	cr_expect_eq(end_of_ward(300 * NSEC_PER_MSEC, outlive_the_deadline), 0);
}

Test(guard, one_that_ends_in_time_is_left_alone, .timeout = 10)
{
	cr_expect_eq(end_of_ward(10 * NSEC_PER_SEC, end_in_time), 0);
}
