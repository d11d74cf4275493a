/* SPDX-License-Identifier: MIT */
/* Where else a function makes the same system call. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A thread returned from system call CALL to PC. libc has a second one close to it, of which one is
 * for processes with a single thread, so a process may change from one to the other. Addresses
 * behind such calls, PC not among them, MOST at most; PROCFD as wait_read() has it. The number of
 * them, or -errno. */
ssize_t wait_sites_read(int procfd, pid_t tid, uint64_t pc, long call, uint64_t *out, size_t most);

/* The same of N bytes of code: offsets behind each place where CALL is made. Pure. */
size_t wait_sites_find(const uint8_t *code, size_t n, long call, size_t *out, size_t most);
