/* SPDX-License-Identifier: MIT */
#include "cli/janitor.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"
#include "lib/log.h"

#define PATIENCE 200 /* times 10 ms, for what it is at */

static void say(void *arg, const char *id)
{
	(void)arg;
	log_info("event=prune id=%s", id);
}

static void start(struct janitor *j)
{
	pid_t parent = getpid();

	j->again = false;
	j->pid = fork();
	if (j->pid == 0) {
		int r;

		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (getppid() != parent)
			_exit(1);
		r = retention_apply(j->store, &j->keep, say, NULL);
		if (r < 0)
			log_error("event=prune error=\"%s\"", store_strerror(r));
		_exit(r < 0);
	}
	if (j->pid < 0) {
		log_error("event=prune errno=%d", errno);
		j->pid = 0;
	}
}

void janitor_call(struct janitor *j)
{
	j->again = j->store != NULL;
}

void janitor_check(struct janitor *j)
{
	if (j->pid && waitpid(j->pid, NULL, WNOHANG) == j->pid)
		j->pid = 0;
	if (!j->pid && j->again)
		start(j);
}

void janitor_dismiss(struct janitor *j)
{
	const struct timespec nap = {.tv_nsec = 10 * NSEC_PER_MSEC};

	for (int i = 0; j->pid && i < PATIENCE; i++) {
		if (waitpid(j->pid, NULL, WNOHANG) == j->pid)
			j->pid = 0;
		else
			nanosleep(&nap, NULL);
	}
	if (j->pid)
		child_end(j->pid, "janitor");
	j->pid = 0;
}
