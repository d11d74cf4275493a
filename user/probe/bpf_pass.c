/* SPDX-License-Identifier: MIT */
#include "probe/bpf_pass.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The padding must be zero as well, which no initializer promises. */
static struct bpf_link *attach(struct bpf_program *program, union bpf_iter_link_info *which)
{
	struct bpf_iter_attach_opts o;

	memset(&o, 0, sizeof(o));
	o.sz = sizeof(o);
	o.link_info = which;
	o.link_info_len = sizeof(*which);
	return bpf_program__attach_iter(program, &o);
}

struct bpf_link *bpf_pass_attach_map(struct bpf_program *program, const struct bpf_map *map)
{
	union bpf_iter_link_info which = {.map.map_fd = (__u32)bpf_map__fd(map)};

	return attach(program, &which);
}

struct bpf_link *bpf_pass_attach(struct bpf_program *program, pid_t pid)
{
	union bpf_iter_link_info which = {.task.pid = (__u32)pid};
	struct bpf_link *link = attach(program, &which);

	if (link || (errno != E2BIG && errno != EINVAL))
		return link;
	return bpf_program__attach_iter(program, NULL);
}

/* After a million of things that nothing was written about the kernel asks to come again. */
ssize_t bpf_pass_read(int fd, void *buf, size_t size)
{
	ssize_t n;

	do {
		n = read(fd, buf, size);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n < 0 ? -errno : n;
}
