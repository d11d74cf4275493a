/* SPDX-License-Identifier: MIT */
/* The directory that coretrap's processes on one host share: who owns kernel.core_pattern, the
 * sockets the crash handlers ask at, the slots that bound how many captures run at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RUNTIME_DIRECTORY "/run/coretrap"
#define RUNTIME_NAME_MAX  48

/* Opens the directory at PATH (RUNTIME_DIRECTORY outside tests), creating it when CREATE is not 0.
 * *fd is the caller's. -ELOOP, -ENOTDIR: something else lies there; -EPERM: another user could
 * write into it. */
int runtime_open(const char *path, int create, int *fd);

/* The same for a directory NAME inside of it. */
int runtime_open_below(int runtimefd, const char *name, int create, int *fd);

/* "<pid>-<start ticks>" of the calling process into OUT: what its registration and its socket are
 * called. */
int runtime_own_name(char out[RUNTIME_NAME_MAX]);

/* The two parts of such a name with SUFFIX behind it; -EINVAL: it is none. */
int runtime_parse_name(const char *name, const char *suffix, pid_t *pid, uint64_t *start_ticks);
/* Whether that process still is there; also where that cannot be found out (no descriptor left, no
 * memory). */
bool runtime_is_alive(pid_t pid, uint64_t start_ticks);

/* Writes LEN bytes as the file NAME below DIRFD, whole or not at all, and synced. */
int runtime_write(int dirfd, const char *name, const void *bytes, size_t len);

/* Takes the flock of the file NAME below RUNTIMEFD, waiting TIMEOUT_NS nanoseconds at most: whoever
 * holds it may have been stopped. *fd owns the lock, closing it gives it up. -ETIMEDOUT. */
int runtime_lock(int runtimefd, const char *name, uint64_t timeout_ns, int *fd);
