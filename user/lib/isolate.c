/* SPDX-License-Identifier: MIT */
#include "lib/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

int isolate(const int *keep, size_t n, const sigset_t *signals, int *signal_fd)
{
	_cleanup_free_ int *fds = calloc(n + STDERR_FILENO + 1, sizeof(*fds));
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), r;

	if (!fds)
		return -ENOMEM;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (null < 0 || dup2(null, fd) < 0)
			return -errno;
		fds[n + (size_t)fd] = fd;
	}
	memcpy(fds, keep, n * sizeof(*fds));
	r = io_close_others(fds, n + STDERR_FILENO + 1);
	if (r < 0)
		return r;
	setsid();
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, signals, NULL);
	*signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return *signal_fd < 0 ? -errno : 0;
}
