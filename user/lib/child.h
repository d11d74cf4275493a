/* SPDX-License-Identifier: MIT */
/* The end of processes that this one forked. */
#pragma once

#include <sys/types.h>

/* Kills the child PID and reaps it. One that sleeps where no signal reaches it (a disk that hangs)
 * is left behind after two seconds, which is logged: it ends by itself as soon as it can. WHAT it
 * is, in a word. */
void child_end(pid_t pid, const char *what);
