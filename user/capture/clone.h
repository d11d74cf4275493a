/* SPDX-License-Identifier: MIT */
/* The snapshot: a copy-on-write clone of a stopped process, which never runs the process' code. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capture/freeze.h"
#include "capture/inject.h"
#include "capture/inject_site.h"
#include "capture/thread_state.h"

struct clone {
	pid_t pid;    /* in our PID namespace; 0: none */
	pid_t ns_pid; /* in the process' own */
	struct injection injection;
};

#define CLONE_NONE ((struct clone){.injection = {.memfd = -1}})

/* Clones the process that F stopped, through one of its threads. 0; else *REASON is a sentence, and
 * the process is as before; after -ETIMEDOUT and -EPROTO the caller must end. SECCOMP: the process
 * has a filter. */
int clone_take(struct freezer *f, const struct thread_states *states, int memfd,
	const struct inject_site *site, bool seccomp, struct clone *out, char *reason);
/* After the process was let go: the clone gives up the descriptors that it shares with it, and
 * tells whether the process may be dumped (prctl(2), PR_GET_DUMPABLE). Returns that, or -errno. */
int clone_settle(struct clone *c, int memfd);
/* Ends the clone. Where its cgroup was frozen it may die only once that is thawed. */
void clone_kill(struct clone *c);
void clone_free(struct clone *c);

/* Takes the dead child NS_PID (its id in the process' namespace) off the process' hands, by a wait4
 * in its main thread. 0; -ECHILD: there was none; -EAGAIN: it is not dead yet, or its cgroup is
 * frozen. */
int clone_reap(const struct process *p, pid_t ns_pid, uint64_t *pause_ns);
