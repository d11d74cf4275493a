/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target/process.h"
#include "target/stat.h"

static void *outlive_the_leader(void *arg)
{
	(void)arg;
	pause();
	return NULL;
}

static void wait_for_zombie(const struct process *p)
{
	struct stat_line stat;

	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(stat_read(p->procfd, &stat), 0);
		if (stat.state == 'Z')
			return;
		usleep(5000);
	}
	cr_assert_fail("the leader does not end");
}

static void expect_end(struct process *p, pid_t child)
{
	siginfo_t info;

	kill(child, SIGKILL);
	cr_assert_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	cr_expect_eq(process_verify(p), -ESRCH, "a zombie that nobody has waited for");
	waitpid(child, NULL, 0);
	cr_expect_eq(process_verify(p), -ESRCH);
	process_close(p);
}

Test(process, ends_with_its_only_thread)
{
	struct process p = PROCESS_NONE;
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	cr_assert_eq(process_open(child, &p), 0);
	cr_expect_eq(process_verify(&p), 0);
	expect_end(&p, child);
}

Test(process, lives_on_without_its_leader)
{
	struct process p = PROCESS_NONE;
	pid_t child = fork();

	if (child == 0) {
		pthread_t thread;

		pthread_create(&thread, NULL, outlive_the_leader, NULL);
		pthread_exit(NULL);
	}
	cr_assert_eq(process_open(child, &p), 0);
	wait_for_zombie(&p);
	cr_expect_eq(process_verify(&p), 0);
	expect_end(&p, child);
}
