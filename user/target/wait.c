/* SPDX-License-Identifier: MIT */
#include "target/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#ifndef __NR_epoll_pwait2
#define __NR_epoll_pwait2 441
#endif

int wait_parse(const char *text, struct thread_wait *out)
{
	long call;
	uint64_t argument;

	out->call = -1;
	out->argument = 0;
	if (strncmp(text, "running", 7) == 0)
		return 0;
	if (sscanf(text, "%ld %" SCNx64, &call, &argument) != 2)
		return -EINVAL;
	if (call < 0) /* what follows is no argument, but where it stands */
		return 0;
	out->call = call;
	out->argument = argument;
	return 0;
}

static int read_task_file(int procfd, pid_t tid, const char *name, size_t max, char **out)
{
	char path[64];

	snprintf(path, sizeof(path), "task/%d/%s", tid, name);
	return io_read_file_at(procfd, path, max, out, NULL);
}

int wait_read(int procfd, pid_t tid, struct thread_wait *out)
{
	_cleanup_free_ char *call = NULL, *channel = NULL;
	int r = read_task_file(procfd, tid, "syscall", 512, &call);

	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	r = wait_parse(call, out);
	if (r < 0)
		return r;
	out->channel[0] = '\0';
	/* "0" where it runs. */
	if (read_task_file(procfd, tid, "wchan", 512, &channel) == 0 && strcmp(channel, "0") != 0)
		snprintf(out->channel, sizeof(out->channel), "%.*s", WAIT_CHANNEL_MAX - 1, channel);
	return 0;
}

int wait_read_stack(int procfd, pid_t tid, char **out)
{
	int r = read_task_file(procfd, tid, "stack", WAIT_STACK_MAX, out);

	return r == -ENOENT ? -ESRCH : r;
}

char *wait_call_name(const struct thread_wait *w)
{
	return w->call < 0 ? NULL
			   : seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)w->call);
}

bool wait_is_idle(const struct thread_wait *w)
{
	switch (w->call) {
#ifdef __NR_epoll_wait /* newer architectures have the later forms only */
	case __NR_epoll_wait:
	case __NR_poll:
	case __NR_select:
	case __NR_accept:
#endif
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
	case __NR_ppoll:
	case __NR_pselect6:
	case __NR_accept4:
	case __NR_io_uring_enter:
		return true;
	default:
		return false;
	}
}

bool wait_reads_socket(int procfd, const struct thread_wait *w, uint64_t inode)
{
	char path[64], link[64], wanted[64];
	ssize_t n;

	if (inode == 0 || (w->call != __NR_read && w->call != __NR_readv &&
				  w->call != __NR_recvfrom && w->call != __NR_recvmsg))
		return false;
	snprintf(path, sizeof(path), "fd/%" PRIu64, w->argument);
	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
	n = readlinkat(procfd, path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return strcmp(link, wanted) == 0;
}
