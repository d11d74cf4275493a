/* SPDX-License-Identifier: MIT */
#include "probe/request_holder.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "lib/cleanup.h"
#include "target/wait_set.h"

/* Whether new work may come out of SET: a request, or more of one. A handler may well wait in
 * epoll_wait() or poll() for something of its own, a database, a child, a timer, and then has its
 * request in its hands. */
static bool brings_work(struct requests *requests, pid_t pid, const struct wait_set *set)
{
	_cleanup_free_ struct unread *serving = NULL;
	size_t n = 0;

	if (requests_serving(requests, pid, &serving, &n) < 0)
		return true;
	for (size_t i = 0; i < n; i++)
		if (wait_set_has(set, serving[i].fd, serving[i].inode))
			return true;
	return false;
}

/* The thread waits for whatever comes next. */
static bool is_idle(struct requests *requests, int procfd, const struct request *request,
	const struct thread_wait *wait)
{
	_cleanup_wait_set_ struct wait_set set = {};
	enum wait_kind kind = wait_kind(wait);

	if (kind == WAIT_ACCEPT || kind == WAIT_IO_URING)
		return true;
	if (kind != WAIT_EPOLL && kind != WAIT_POLL && kind != WAIT_SELECT)
		return false;
	if (wait_set_read(procfd, request->tid, wait, &set) < 0)
		return true;
	if (set.by_inode && request->inode && wait_set_has(&set, -1, request->inode))
		return true;
	return brings_work(requests, request->pid, &set);
}

enum request_holder request_find_holder(struct requests *requests, int procfd,
	const struct request *request, struct thread_wait *wait)
{
	int r = wait_read(procfd, request->tid, wait);

	if (r < 0) {
		*wait = (struct thread_wait){.call = -1};
		/* io_uring's workers come and go; a thread that is there but may not be looked at
		 * has it for all we know. */
		return r == -ESRCH ? HOLDER_HANDED_OFF : HOLDER_THREAD;
	}
	if (wait_reads_socket(procfd, request->tid, wait, request->inode))
		return HOLDER_CLIENT;
	if (is_idle(requests, procfd, request, wait))
		return HOLDER_HANDED_OFF;
	/* A thread of Go that sleeps on a futex has no goroutine. A thread of anybody else may well
	 * sleep on one in the handler: that is how a lock, or Java's Thread.sleep, looks. */
	if (request->goroutine && wait->call == __NR_futex)
		return HOLDER_HANDED_OFF;
	return HOLDER_THREAD;
}
