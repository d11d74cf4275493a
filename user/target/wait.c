/* SPDX-License-Identifier: MIT */
#include "target/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
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
	uint64_t arguments[3] = {0};
	long call;

	*out = (struct thread_wait){.call = -1, .runs = strncmp(text, "running", 7) == 0};
	if (out->runs)
		return 0;
	if (sscanf(text, "%ld %" SCNx64 " %" SCNx64 " %" SCNx64, &call, &arguments[0],
		    &arguments[1], &arguments[2]) < 2)
		return -EINVAL;
	if (call < 0) { /* what follows is no argument, but where it stands */
		out->sp = arguments[0];
		out->pc = arguments[1];
		return 0;
	}
	if (sscanf(text, "%*d %*x %*x %*x %*x %*x %*x %" SCNx64 " %" SCNx64, &out->sp, &out->pc) !=
		2)
		out->sp = out->pc = 0;
	out->call = call;
	memcpy(out->arguments, arguments, sizeof(arguments));
	return 0;
}

int wait_read_fd(int fd, struct thread_wait *out)
{
	char text[512];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return -errno;
	if (n == 0)
		return -ESRCH;
	text[n] = '\0';
	return wait_parse(text, out);
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

int wait_parse_status(const char *text, struct thread_status *out)
{
	const char *state = strstr(text, "\nState:\t"),
		   *switches = strstr(text, "\nvoluntary_ctxt_switches:\t");

	if (!state || !switches ||
		sscanf(switches, "\nvoluntary_ctxt_switches:\t%" SCNu64, &out->switches) != 1)
		return -EINVAL;
	out->state = state[strlen("\nState:\t")];
	return 0;
}

int wait_read_status(int procfd, pid_t tid, struct thread_status *out)
{
	_cleanup_free_ char *text = NULL;
	int r = read_task_file(procfd, tid, "status", 8192, &text);

	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	return wait_parse_status(text, out);
}

char *wait_call_name(const struct thread_wait *w)
{
	return w->call < 0 ? NULL
			   : seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)w->call);
}

enum wait_kind wait_kind(const struct thread_wait *w)
{
	switch (w->call) {
#ifdef __NR_epoll_wait /* newer architectures have the later forms only */
	case __NR_epoll_wait:
		return WAIT_EPOLL;
	case __NR_poll:
		return WAIT_POLL;
	case __NR_select:
		return WAIT_SELECT;
#endif
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
		return WAIT_EPOLL;
	case __NR_ppoll:
		return WAIT_POLL;
	case __NR_pselect6:
		return WAIT_SELECT;
	case __NR_accept:
	case __NR_accept4:
		return WAIT_ACCEPT;
	case __NR_io_uring_enter:
		return WAIT_IO_URING;
	case __NR_read:
	case __NR_readv:
	case __NR_recvfrom:
	case __NR_recvmsg:
		return WAIT_RECEIVE;
	default:
		return WAIT_OTHER;
	}
}

enum loop_call wait_loop_call(const struct thread_wait *w)
{
	switch (wait_kind(w)) {
	case WAIT_EPOLL:
		return LOOP_EPOLL;
	case WAIT_POLL:
		return w->arguments[1] ? LOOP_POLL : LOOP_NONE;
	case WAIT_SELECT:
		return w->arguments[0] ? LOOP_POLL : LOOP_NONE;
	default:
		return LOOP_NONE;
	}
}

int wait_read_memory(int procfd, pid_t tid, uint64_t address, void *buf, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "task/%d/mem", tid);
	fd = openat(procfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pread(fd, buf, size, (off_t)address);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -ENODATA;
}

/* The only descriptor that it waits for; false: there are others, or none. */
static bool only_descriptor(int procfd, pid_t tid, const struct thread_wait *w, uint64_t *fd)
{
	struct pollfd only = {};

	switch (wait_kind(w)) {
	case WAIT_RECEIVE:
		*fd = w->arguments[0];
		return true;
	case WAIT_POLL: /* before a read, where that has a timeout */
		if (w->arguments[1] != 1 ||
			wait_read_memory(procfd, tid, w->arguments[0], &only, sizeof(only)) < 0)
			return false;
		*fd = (uint64_t)only.fd;
		return only.events & POLLIN;
	default:
		return false;
	}
}

bool wait_reads_socket(int procfd, pid_t tid, const struct thread_wait *w, uint64_t inode)
{
	char path[96], link[64], wanted[64];
	uint64_t fd;
	ssize_t n;

	if (inode == 0 || !only_descriptor(procfd, tid, w, &fd))
		return false;
	snprintf(path, sizeof(path), "task/%d/fd/%" PRIu64, tid, fd);
	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
	n = readlinkat(procfd, path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return strcmp(link, wanted) == 0;
}
