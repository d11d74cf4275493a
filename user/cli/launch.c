/* SPDX-License-Identifier: MIT */
#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

static void run_command(char **command, int go, int complaint)
{
	char byte;
	int error;

	if (io_read_exact(go, &byte, 1) < 0)
		_exit(0); /* its starter gave up */
	execvp(command[0], command);
	error = errno;
	io_write_all(complaint, &error, sizeof(error));
	_exit(127);
}

int launch_prepare(char **command, struct launch *out)
{
	int go[2], complaint[2];
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(complaint, O_CLOEXEC) < 0) {
		int r = -errno;

		close(go[0]);
		close(go[1]);
		return r;
	}
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		run_command(command, go[0], complaint[1]);
	}
	close(go[0]);
	close(complaint[1]);
	*out = (struct launch){.pid = pid, .release = go[1], .complaint = complaint[0]};
	if (pid < 0) {
		int r = -errno;

		*out = (struct launch){.release = go[1], .complaint = complaint[0]};
		launch_close(out);
		return r;
	}
	return 0;
}

int launch_release(struct launch *l)
{
	int error = 0;

	if (l->release < 0)
		return 0;
	io_write_all(l->release, "g", 1);
	cleanup_close(&l->release);
	if (io_read_exact(l->complaint, &error, sizeof(error)) == 0)
		log_error("event=command error=\"%s\"", strerror(error));
	cleanup_close(&l->complaint);
	return -error;
}

void launch_reap(struct launch *l)
{
	if (l->pid > 0 && waitpid(l->pid, NULL, WNOHANG) == l->pid)
		l->pid = 0;
}

void launch_close(struct launch *l)
{
	bool never_ran = l->release >= 0;

	cleanup_close(&l->release);
	cleanup_close(&l->complaint);
	if (never_ran && l->pid > 0)
		waitpid(l->pid, NULL, 0);
}
