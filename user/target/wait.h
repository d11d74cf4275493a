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
	uint64_t arguments[3];		/* the call's first */
	bool runs;			/* or would, if there were a processor for it */
	uint64_t sp, pc;		/* of user space; 0: it runs */
	char channel[WAIT_CHANNEL_MAX]; /* the kernel function it sleeps in; "": it runs, or not
					   told */
};

/* Parses /proc/PID/task/TID/syscall. Pure; -EINVAL. */
int wait_parse(const char *text, struct thread_wait *out);
/* The same of a descriptor of that file, at its beginning: for one that is read again and again.
 * -ESRCH: the thread has ended. */
int wait_read_fd(int fd, struct thread_wait *out);
/* Reads it below PROCFD, a /proc/PID directory. -ESRCH: no such thread; -EACCES … */
int wait_read(int procfd, pid_t tid, struct thread_wait *out);
/* The thread's kernel stack, a line a function, at most WAIT_STACK_MAX bytes; the caller frees. */
int wait_read_stack(int procfd, pid_t tid, char **out);

/* The name of the call, which the caller frees; NULL if there is none. */
char *wait_call_name(const struct thread_wait *w);
enum wait_kind {
	WAIT_OTHER,
	WAIT_EPOLL, /* for any of a set of descriptors: target/wait_set.h */
	WAIT_POLL,
	WAIT_SELECT,
	WAIT_ACCEPT,
	WAIT_IO_URING,
	WAIT_RECEIVE, /* from the descriptor that is the first argument */
};

enum wait_kind wait_kind(const struct thread_wait *w);
/* The thread waits for bytes from this socket and for nothing else; INODE names it as the links
 * below PROCFD/fd do. */
bool wait_reads_socket(int procfd, pid_t tid, const struct thread_wait *w, uint64_t inode);
/* Reads SIZE bytes of the process' memory, all or none; 0 or -errno. */
int wait_read_memory(int procfd, pid_t tid, uint64_t address, void *buf, size_t size);

/* What of /proc/PID/task/TID/status tells whether a thread has moved. */
struct thread_status {
	char state;	   /* R, S, D, T (stopped), t (by a debugger) … */
	uint64_t switches; /* so often it gave up its processor to wait for something */
};

/* Pure; -EINVAL. */
int wait_parse_status(const char *text, struct thread_status *out);
/* Below PROCFD; -ESRCH: no such thread. */
int wait_read_status(int procfd, pid_t tid, struct thread_status *out);

enum loop_call {
	LOOP_NONE,
	LOOP_EPOLL, /* epoll_wait and its like, of which the first argument says what is waited for
		     */
	LOOP_POLL,  /* poll or select, of something: not as a way to sleep */
};

/* The thread waits as an event loop does. */
enum loop_call wait_loop_call(const struct thread_wait *w);
