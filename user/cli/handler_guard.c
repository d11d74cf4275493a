/* SPDX-License-Identifier: MIT */
#include "cli/handler_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

#define SLOT_POLL_US 5000

/* A process waits for what this one does, and a service's restart waits for that process: at nice
 * 19, on a host whose processors were busy, a capture of 40 ms took up to a second, and of 100
 * crashes at once half were throttled. */
#define HELD_NICE 5

/* The guard itself. It must hold nothing that its ward holds: neither the pipe that keeps the dying
 * process, nor a socket whose end somebody waits for. */
_Noreturn static void stand_guard(int tie, int pidfd, uint64_t deadline_ns)
{
	struct pollfd end = {.events = POLLIN};

	/* The numbers 0 to 2 are open, so what was passed in lies above. */
	if (dup2(tie, 0) < 0 || dup2(pidfd, 1) < 0 || syscall(SYS_close_range, 2, ~0U, 0) < 0)
		_exit(1);
	for (;;) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

		if (now >= deadline_ns)
			break;
		if (poll(&end, 1, (int)((deadline_ns - now) / NSEC_PER_MSEC) + 1) > 0)
			_exit(0);
	}
	syscall(SYS_pidfd_send_signal, 1, SIGKILL, NULL, 0);
	_exit(0);
}

int guard_start(uint64_t deadline_ns, int *tie)
{
	_cleanup_close_ int read_end = -1, write_end = -1, pidfd = -1;
	int ends[2], status;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	read_end = ends[0];
	write_end = ends[1];
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (pidfd < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		/* Not a child of the handler: a program it execs may wait for children of its own.
		 */
		child = fork();
		if (child == 0)
			stand_guard(read_end, pidfd, deadline_ns);
		_exit(child < 0);
	}
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (status != 0)
		return -EAGAIN;
	*tie = TAKE_FD(write_end);
	return 0;
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* flock() has no timeout: an interval timer breaks it. */
static int lock_until(int fd, uint64_t deadline_ns)
{
	const struct itimerval ticking = {{.tv_usec = 100000}, {.tv_usec = 100000}}, off = {};
	struct sigaction old, act = {.sa_handler = on_alarm};
	int r = 0;

	if (sigaction(SIGALRM, &act, &old) < 0 || setitimer(ITIMER_REAL, &ticking, NULL) < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			r = -errno;
		else if (clock_now_ns(CLOCK_MONOTONIC) >= deadline_ns)
			r = -ETIMEDOUT;
		if (r < 0)
			break;
	}
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	return r;
}

int guard_take_slot(int runtimefd, unsigned int slots, uint64_t deadline_ns, int *fd)
{
	_cleanup_close_ int dir = -1, queue = -1;
	int r = runtime_open_below(runtimefd, "slots", 1, &dir);

	if (r < 0)
		return r;
	queue = openat(dir, "queue", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (queue < 0)
		return -errno;
	/* Only the head of the queue looks for a free slot; the others sleep. */
	r = lock_until(queue, deadline_ns);
	while (r == 0) {
		for (unsigned int i = 0; i < slots; i++) {
			_cleanup_close_ int slot = -1;
			char name[16];

			snprintf(name, sizeof(name), "%u", i);
			slot = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
			if (slot < 0)
				return -errno;
			if (flock(slot, LOCK_EX | LOCK_NB) == 0) {
				*fd = TAKE_FD(slot);
				return 0;
			}
		}
		if (clock_now_ns(CLOCK_MONOTONIC) >= deadline_ns)
			return -ETIMEDOUT;
		usleep(SLOT_POLL_US);
	}
	return r;
}

int guard_step_back(const char *cgroup)
{
	_cleanup_close_ int dir = -1;
	int r = 0;

	if (setpriority(PRIO_PROCESS, 0, HELD_NICE) < 0)
		r = -errno;
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7)) <
		0)
		r = -errno;
	if (!cgroup)
		return r;
	dir = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	return io_write_file_at(dir, "cgroup.procs", "0") < 0 ? -errno : r;
}
