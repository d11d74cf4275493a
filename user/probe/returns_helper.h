/* SPDX-License-Identifier: MIT */
/* The process that puts the probes of returns.h on and takes them off: the kernel takes 10 to 30 ms
 * for the one, and 100 for the other. It also is the only one to hold their links, which would last
 * as long as any process that was forked meanwhile. */
#pragma once

#include <bpf/libbpf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "probe/returns.h"

/* What it is told, one a datagram. */
struct returns_order {
	uint64_t id;	/* of these probes */
	uint64_t n;	/* places; 0: take them off */
	pid_t pid, tid; /* TID lives */
	uint64_t start_ticks;
	struct wait_site places[RETURNS_PLACES_MAX];
};

/* What it answers when told to put some on. */
struct returns_answer {
	uint64_t id;
	int64_t error; /* 0 or -errno, and then there are none */
};

/* Runs in the child, until the other end of SOCKET is closed. */
_Noreturn void returns_helper_run(const struct bpf_program *program, int socket, pid_t parent);
