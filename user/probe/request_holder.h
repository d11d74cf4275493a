/* SPDX-License-Identifier: MIT */
/* Who has a request that waits. */
#pragma once

#include "probe/requests.h"
#include "target/wait.h"

enum request_holder {
	HOLDER_THREAD,	   /* the thread that read it has not come back */
	HOLDER_HANDED_OFF, /* that thread waits for other work, or has ended: somebody else has it
			    */
	HOLDER_CLIENT,	   /* that thread waits for more of the request: it is not complete */
};

/* PROCFD is the /proc directory of the request's process. *WAIT is what the reading thread stands
 * in; its call is -1 where that could not be read. REQUESTS is asked which sockets the process
 * serves. */
enum request_holder request_find_holder(struct requests *requests, int procfd,
	const struct request *request, struct thread_wait *wait);
