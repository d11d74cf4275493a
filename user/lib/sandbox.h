/* SPDX-License-Identifier: MIT */
/* A cage for code that parses what others wrote: no descriptors but the given ones, no privileges,
 * no files, no network, bounded memory and time. For a child process that only computes and answers
 * through a pipe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct sandbox {
	const int *keep; /* descriptors that stay open; -1 entries are passed over */
	size_t keep_count;
	int replyfd;	      /* the only descriptor that may be written to; also kept */
	uint64_t memory_max;  /* bytes of address space (RLIMIT_AS); 0: no limit */
	unsigned int cpu_max; /* seconds of CPU, then SIGKILL; 0: no limit */
	/* A directory whose files may be opened for reading, as "/"; NULL: none. Where it is
	 * missing, or chroot(2) not permitted, nothing may be opened. No descriptor of KEEP may be
	 * a directory: it would be the way out. */
	const char *root;
};

/* Locks the calling process (single-threaded, fresh from a fork) in for good: user and group nobody
 * where it was root, no capability, not dumpable (a crash in here makes no core), killed with its
 * parent. System calls that are not listed fail with EPERM. 0 or -errno; after a failure the
 * process is half locked and must _exit(). */
int sandbox_enter(const struct sandbox *s);
