/* SPDX-License-Identifier: MIT */
/* Programs that go through something in the kernel (iterators), and what they write meanwhile. */
#pragma once

#include <bpf/libbpf.h>
#include <stddef.h>
#include <sys/types.h>

/* PROGRAM goes through the values of MAP. The caller's to bpf_link__destroy(); NULL and errno. */
struct bpf_link *bpf_pass_attach_map(struct bpf_program *program, const struct bpf_map *map);
/* PROGRAM goes through the descriptors of a process; before 6.1 through those of all, of which it
 * leaves out the others'. Likewise. */
struct bpf_link *bpf_pass_attach(struct bpf_program *program, pid_t pid);

/* More of what a pass (bpf_iter_create()) writes: so many bytes, 0: its end, -errno. */
ssize_t bpf_pass_read(int fd, void *buf, size_t size);
