/* SPDX-License-Identifier: MIT */
/* Where else a function makes the same system call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/maps.h"

/* An address behind a system call, and what is mapped there: after dlclose() that may be another
 * file. */
struct wait_site {
	uint64_t address;
	uint64_t offset, inode; /* in the file; of it */
	uint32_t major, minor;	/* its device */
};

/* What MAPS has at ADDRESS; -ENOENT: nothing. Pure. */
int wait_site_locate(const struct maps *maps, uint64_t address, struct wait_site *out);
/* It is still the same there. Pure. */
bool wait_site_holds(const struct maps *maps, const struct wait_site *site);
/* The file FD makes a system call right before OFFSET: 0, -EBADMSG if not, or -errno. */
int wait_site_check(int fd, uint64_t offset);

/* A thread returned from system call CALL to PC. libc has a second one close to it, of which one is
 * for processes with a single thread, so a process may change from one to the other. Addresses
 * behind such calls, PC not among them, MOST at most; PROCFD as wait_read() has it. The number of
 * them, or -errno. */
ssize_t wait_sites_read(int procfd, pid_t tid, uint64_t pc, long call, uint64_t *out, size_t most);

/* The same of N bytes of code: offsets behind each place where CALL is made. Pure. */
size_t wait_sites_find(const uint8_t *code, size_t n, long call, size_t *out, size_t most);
