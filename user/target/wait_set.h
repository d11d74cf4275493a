/* SPDX-License-Identifier: MIT */
/* The descriptors that a thread waits for in epoll_wait(), poll() or select(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/wait.h"

struct wait_set {
	bool by_inode;	   /* MEMBERS are inode numbers of files (epoll), else descriptors */
	uint64_t *members; /* sorted */
	size_t n;
};

/* Reads what thread TID of the process, which stands in W, waits for; what is read is of this
 * moment, when it may already be on its way again. The caller frees. -EOPNOTSUPP: its call has no
 * set; -E2BIG: it has tens of thousands; or -errno. */
int wait_set_read(int procfd, pid_t tid, const struct thread_wait *w, struct wait_set *out);
void wait_set_free(struct wait_set *s);
#define _cleanup_wait_set_ __attribute__((cleanup(wait_set_free)))

/* Descriptor FD, which is of the file INODE, is in it. */
bool wait_set_has(const struct wait_set *s, int fd, uint64_t inode);

/* The set of an epoll descriptor, from its /proc/PID/fdinfo. Pure; -ENOMEM. */
int wait_set_parse_epoll(const char *text, struct wait_set *out);
