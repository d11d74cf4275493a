/* SPDX-License-Identifier: MIT */
/* Probes on the code of one process. */
#pragma once

#include <bpf/libbpf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Links that go together. */
struct uprobes {
	struct bpf_link **v;
	size_t n, room;
};

/* Has PROGRAM run whenever the process comes to OFFSET of the file FD, which it has mapped or may
 * map; TID is one of its threads, which lives. SEMAPHORE: where in the file a static probe counts
 * those who listen; 0: nowhere. 0 or -errno: -ENOTSUP where an instruction cannot be probed. */
int uprobes_add(struct uprobes *u, const struct bpf_program *program, pid_t tid, int fd,
	uint64_t offset, uint64_t semaphore);

/* Takes them off. The kernel waits some 10 milliseconds and more for each, one after the other, so
 * a process that nobody has to wait for does: programs may run until then. */
void uprobes_remove(struct uprobes *u);
