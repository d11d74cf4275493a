/* SPDX-License-Identifier: MIT */
#include "probe/request_holder.h"

#include <errno.h>
#include <sys/syscall.h>

enum request_holder request_find_holder(
	int procfd, const struct request *request, struct thread_wait *wait)
{
	int r = wait_read(procfd, request->tid, wait);

	if (r < 0) {
		*wait = (struct thread_wait){.call = -1};
		/* io_uring's workers come and go; a thread that is there but may not be looked at
		 * has it for all we know. */
		return r == -ESRCH ? HOLDER_HANDED_OFF : HOLDER_THREAD;
	}
	if (wait_reads_socket(procfd, wait, request->inode))
		return HOLDER_CLIENT;
	if (wait_is_idle(wait))
		return HOLDER_HANDED_OFF;
	/* A thread of Go that sleeps on a futex has no goroutine. A thread of anybody else may well
	 * sleep on one in the handler: that is how a lock, or Java's Thread.sleep, looks. */
	if (request->goroutine && wait->call == __NR_futex)
		return HOLDER_HANDED_OFF;
	return HOLDER_THREAD;
}
