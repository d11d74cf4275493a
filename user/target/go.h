/* SPDX-License-Identifier: MIT */
/* What a Go program's file says of its runtime. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Finds the version ("go1.19.8") in SIZE bytes of a file; 0, -ENOENT (not there), -EINVAL (no
 * version of Go's). Pure. */
int go_find_minor(const void *bytes, size_t size, unsigned int *minor);
/* Where the number of a goroutine lies in its struct g, by Go 1.MINOR; -EOPNOTSUPP: not known.
 * Pure. */
int go_goid_offset(unsigned int minor, uint32_t *offset);
/* The same for the executable below PROCFD. -ENOENT: not Go; -errno. Reads up to 256 MiB of it: to
 * be asked once a process. PROCFD may be that of a live thread: where the leader has ended it must.
 */
int go_read_goid_offset(int procfd, uint32_t *offset);

struct goroutine {
	uint64_t number;		/* 0: not known */
	uint64_t stack_low, stack_high; /* the bounds of its stack */
	uint64_t sp;			/* where it was put aside; of no meaning while it runs */
	pid_t tid; /* the thread that runs it, or claims to; 0: none, it waits */
};

/* Reads the struct g at ADDRESS in a program of Go 1.17 or later; MEMFD is its /proc/PID/mem,
 * OFFSET as above, or 0. What is read was made by the process: hostile. 0 or -errno. */
int go_read_goroutine(int memfd, uint64_t address, uint32_t offset, struct goroutine *out);
