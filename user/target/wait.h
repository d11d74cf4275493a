/* SPDX-License-Identifier: MIT */
/* What a thread waits in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WAIT_CHANNEL_MAX 64
#define WAIT_STACK_MAX	 4096

struct thread_wait {
	long call; /* number of the system call it stands in; -1: none (it runs, or takes a fault)
		    */
	uint64_t argument;		/* the call's first */
	char channel[WAIT_CHANNEL_MAX]; /* the kernel function it sleeps in; "": it runs, or not
					   told */
};

/* Parses /proc/PID/task/TID/syscall. Pure; -EINVAL. */
int wait_parse(const char *text, struct thread_wait *out);
/* Reads it below PROCFD, a /proc/PID directory. -ESRCH: no such thread; -EACCES … */
int wait_read(int procfd, pid_t tid, struct thread_wait *out);
/* The thread's kernel stack, a line a function, at most WAIT_STACK_MAX bytes; the caller frees. */
int wait_read_stack(int procfd, pid_t tid, char **out);

/* The name of the call, which the caller frees; NULL if there is none. */
char *wait_call_name(const struct thread_wait *w);
/* The thread waits for whatever comes next (epoll, poll, accept): it has nothing in its hands. */
bool wait_is_idle(const struct thread_wait *w);
/* The thread waits for bytes from this socket, which INODE names as the links below PROCFD/fd do.
 */
bool wait_reads_socket(int procfd, const struct thread_wait *w, uint64_t inode);
