/* SPDX-License-Identifier: MIT */
#include "target/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "target/stat.h"

int process_open(pid_t pid, struct process *out)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	char path[32];
	struct stat_line stat;
	int r;

	if (pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d", pid);
	p.procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p.procfd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	p.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.pidfd < 0 && errno != EINVAL &&
		errno != ESRCH) /* EINVAL: a thread's id, ESRCH: gone */
		return -errno;
	r = stat_read(p.procfd, &stat);
	if (r < 0)
		return r;
	if (p.pidfd < 0)
		return -ESRCH;
	p.pid = pid;
	p.start_ticks = stat.start_ticks;
	*out = p;
	p = PROCESS_NONE;
	return 0;
}

int process_verify(const struct process *p)
{
	struct stat_line stat;

	/* The directory belongs to this process alone: after its end, every read below it fails. */
	if (stat_read(p->procfd, &stat) < 0 || stat.start_ticks != p->start_ticks ||
		stat.state == 'X')
		return -ESRCH;
	/* The leader may end before the others: then it is a zombie, but not alone. */
	return stat.state == 'Z' && stat.threads <= 1 ? -ESRCH : 0;
}

void process_close(struct process *p)
{
	cleanup_close(&p->pidfd);
	cleanup_close(&p->procfd);
	p->pid = -1;
}

int process_open_task(const struct process *p, pid_t tid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "task/%d", tid);
	fd = openat(p->procfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : errno == ENOENT ? -ESRCH : -errno;
}

int process_open_live_task(const struct process *p, pid_t *tid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int r = io_open_dir_at(p->procfd, "task", &dir);
	struct dirent *entry;

	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	while ((entry = readdir(dir)) != NULL) {
		pid_t id = (pid_t)strtol(entry->d_name, NULL, 10);
		_cleanup_close_ int taskfd = id > 0 ? process_open_task(p, id) : -ESRCH;
		struct stat_line stat;
		int one = taskfd < 0 ? taskfd : stat_read(taskfd, &stat);

		if (one < 0 && one != -ESRCH)
			r = one; /* it may live, which without descriptors cannot be told */
		if (one < 0 || stat.state == 'Z' || stat.state == 'X')
			continue;
		if (tid)
			*tid = id;
		return TAKE_FD(taskfd);
	}
	return r < 0 ? r : -ESRCH;
}
