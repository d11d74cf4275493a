/* SPDX-License-Identifier: MIT */
/* A process that was forked for one task, and shares nothing with its parent any more. */
#pragma once

#include <signal.h>
#include <stddef.h>

/* Closes all descriptors but KEEP's (-1 entries are passed over): somewhere a
 * socket's end is waited for, and BPF programs stay attached as long as their links are held. 0 to
 * 2 become /dev/null, KEEP must lie above. The session is its own, SIGPIPE is ignored, no other
 * signal is blocked but those of SIGNALS, which come through *SIGNAL_FD (it does not block). 0 or
 * -errno. */
int isolate(const int *keep, size_t n, const sigset_t *signals, int *signal_fd);
