/* SPDX-License-Identifier: MIT */
/* What a Go program's file says of its runtime. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Finds the version ("go1.19.8") in SIZE bytes of a file; 0, -ENOENT (not there), -EINVAL (no
 * version of Go's). Pure. */
int go_find_minor(const void *bytes, size_t size, unsigned int *minor);
/* Where the number of a goroutine lies in its struct g, by Go 1.MINOR; -EOPNOTSUPP: not known.
 * Pure. */
int go_goid_offset(unsigned int minor, uint32_t *offset);
/* The same for the executable below PROCFD. -ENOENT: not Go; -errno. Reads the whole file: to be
 * asked once a process. */
int go_read_goid_offset(int procfd, uint32_t *offset);
