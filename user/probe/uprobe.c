/* SPDX-License-Identifier: MIT */
#include "probe/uprobe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define ENOTSUPP 524 /* the kernel's own, which no libc has */

int uprobes_add(struct uprobes *u, const struct bpf_program *program, pid_t tid, int fd,
	uint64_t offset, uint64_t semaphore)
{
	struct bpf_uprobe_opts options = {.sz = sizeof(options), .ref_ctr_offset = semaphore};
	struct bpf_link *link;
	char path[32];

	if (u->n == u->room) {
		size_t room = u->room ? u->room * 2 : 16;
		struct bpf_link **v = reallocarray(u->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		u->v = v;
		u->room = room;
	}
	/* The very file, wherever it is mounted, and also where its name is gone. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	link = bpf_program__attach_uprobe_opts(program, tid, path, offset, &options);
	if (!link)
		return errno == ENOTSUPP ? -ENOTSUP : -errno;
	u->v[u->n++] = link;
	return 0;
}

/* It holds the links as well until the other end is closed. Then its are the last references. */
static pid_t start_helper(int *writefd)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return 0;
	pid = fork();
	if (pid == 0) {
		char byte;

		close(fds[1]);
		while (read(fds[0], &byte, 1) < 0 && errno == EINTR)
			;
		_exit(0);
	}
	close(fds[0]);
	if (pid < 0)
		close(fds[1]);
	else
		*writefd = fds[1];
	return pid < 0 ? 0 : pid;
}

void uprobes_remove(struct uprobes *u, pid_t *helper)
{
	_cleanup_close_ int writefd = -1;

	*helper = u->n ? start_helper(&writefd) : 0;
	for (size_t i = 0; i < u->n; i++)
		bpf_link__destroy(u->v[i]);
	free(u->v);
	*u = (struct uprobes){};
}
