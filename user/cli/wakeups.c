/* SPDX-License-Identifier: MIT */
#include "cli/wakeups.h"

#include <errno.h>
#include <sys/epoll.h>

#include "lib/log.h"

int wakeups_open(int *epollfd)
{
	*epollfd = epoll_create1(EPOLL_CLOEXEC);
	return *epollfd < 0 ? -errno : 0;
}

void wakeups_add(int epollfd, int fd)
{
	struct epoll_event interest = {.events = EPOLLIN};

	if (epoll_ctl(epollfd, EPOLL_CTL_ADD, fd, &interest) < 0)
		log_debug("event=epoll errno=%d", errno);
}
