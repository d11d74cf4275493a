/* SPDX-License-Identifier: MIT */
#include "probe/uprobe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define ENOTSUPP 524 /* the kernel's own, which no libc has */

int uprobes_add(struct uprobes *u, const struct bpf_program *program, pid_t tid, int fd,
	uint64_t offset, uint64_t semaphore)
{
	struct bpf_uprobe_opts options = {.sz = sizeof(options), .ref_ctr_offset = semaphore};
	struct bpf_link *link;
	char path[32];

	if (u->n == u->room) {
		size_t room = u->room ? u->room * 2 : 16;
		struct bpf_link **v = reallocarray(u->v, room, sizeof(struct bpf_link *));

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

/* Holds the links, and nothing else of its parent's, until the other end is closed: then its are
 * the last references. */
_Noreturn static void run_helper(const struct uprobes *u, int readfd)
{
	_cleanup_free_ int *keep = calloc(u->n + 1, sizeof(*keep));
	char byte;

	for (size_t i = 0; keep && i < u->n; i++)
		keep[i] = bpf_link__fd(u->v[i]);
	if (keep) {
		keep[u->n] = readfd;
		io_close_others(keep, u->n + 1);
	}
	while (read(readfd, &byte, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

/* Nobody's child: there is no use in waiting for it. -1: there is none. */
static int start_helper(const struct uprobes *u)
{
	_cleanup_close_ int readfd = -1, writefd = -1;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	readfd = fds[0];
	writefd = fds[1];
	pid = fork();
	if (pid == 0) {
		cleanup_close(&writefd);
		if (fork() == 0)
			run_helper(u, readfd);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return TAKE_FD(writefd);
}

void uprobes_remove(struct uprobes *u)
{
	_cleanup_close_ int writefd = u->n ? start_helper(u) : -1;

	for (size_t i = 0; i < u->n; i++)
		bpf_link__destroy(u->v[i]);
	free(u->v);
	*u = (struct uprobes){};
}
