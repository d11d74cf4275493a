/* SPDX-License-Identifier: MIT */
/* Calls of functions, and work between two static probes, that have begun and not ended. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "probe/probe.h"
#include "probe/uprobe.h"
#include "target/maps.h"
#include "target/places.h"

struct functions;

/* 0 or -errno, as probe_open(). Nothing is attached yet. */
int functions_open(struct functions **out);
/* NULL-safe. */
void functions_close(struct functions *f);

struct functions_wish {
	pid_t pid;
	pid_t tid; /* a thread of it, which lives */
	int fd;	   /* the file in which PLACES lie */
	/* The process' mappings, of which those of the file of WHICH count. */
	const struct maps *maps;
	const struct mapping *which;
	const struct places *places;
	bool go;       /* its calls belong to goroutines */
	uint32_t goid; /* as go_read_goid_offset() has it; 0: not known */
};

struct function_watch {	   /* one function, or pair of probes, of one process */
	uint32_t instance; /* its calls are told with this number, never 0 */
	struct uprobes probes;
	struct function_site *sites;
	size_t site_count;
};

#define FUNCTION_WATCH_NONE ((struct function_watch){})

/* Begins to watch. 0 or -errno: -EEXIST: another one has a probe at the same place; -ENOTSUP: there
 * is an instruction that cannot be probed; -ENOSPC: too many probes; -ENXIO: that
 * part of the file is not mapped. */
int functions_watch(
	struct functions *f, const struct functions_wish *wish, struct function_watch *out);
/* Ends it, and forgets its calls. */
void functions_unwatch(struct functions *f, struct function_watch *watch);

/* Readable when there are overruns. */
int functions_fd(const struct functions *f);
/* The next process whose probes fire too often; nothing is told of its calls any more, but the
 * probes stay until functions_unwatch(). 1 and *PID, 0: none now, -errno. */
int functions_next_overrun(struct functions *f, pid_t *pid);
#define FUNCTIONS_FIRINGS_MAX 10000 /* a second and process */
/* PID is to have probes, and has had none, or has none of those any more that fired too often. 0 or
 * -errno: -ENOSPC: too many processes have. Until it is ended it takes a place. */
int functions_begin_process(struct functions *f, pid_t pid);
void functions_end_process(struct functions *f, pid_t pid);

struct function_call {
	uint32_t instance;
	uint64_t owner;	     /* a thread, the address of a goroutine's g, or an argument */
	uint64_t entered_ns; /* CLOCK_BOOTTIME */
	uint64_t stack;	     /* of a goroutine: where its stack began; 0: of a thread */
	uint64_t below;	     /* how far below STACK the stack pointer was, modulo 2^64 */
	uint64_t back;	     /* the word there: where it returns to; 0: of static probes */
	uint64_t goroutine;  /* 0: not known */
	pid_t tid;	     /* that entered */
};

/* All that are under way, the oldest first, good until the next call here or of
 * functions_unwatch(). 0 or -errno. */
int functions_scan(struct functions *f, const struct function_call **out, size_t *n);
/* It is not under way: it was left in another way than by a return. */
void functions_drop(struct functions *f, const struct function_call *call);

/* As probe_losses(). */
int functions_losses(struct functions *f, struct probe_loss out[PROBE_LOSSES_MAX]);
