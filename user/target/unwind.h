/* SPDX-License-Identifier: MIT */
/* Stack traces by DWARF unwinding (libdw) of a process that is held, or of a copied piece of its
 * stack.
 *
 * The ELF files of a process are hostile input, so they are opened here and parsed in a child that
 * can open nothing more: no privileges, a seccomp filter, a time limit. What comes back is JSON
 * that is checked again. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/maps.h"
#include "target/registers.h"

struct unwind_stack {	   /* bytes copied from a thread's stack */
	uint64_t start;	   /* where they begin in the process */
	const void *bytes; /* may be NULL */
	size_t size;
};

struct unwind_request {
	int procfd; /* /proc/PID directory, for map_files/ and root/; -1: nothing is symbolized */
	int memfd;  /* /proc/…/mem of the held process; -1: only the copied stack is there */
	const struct maps *maps;
	const struct thread_registers *threads;
	size_t thread_count;
	uint64_t stack_start; /* where the copied bytes begin in the process */
	const void *stack;    /* copied stack of threads[0], may be NULL */
	size_t stack_size;
	/* One a thread, in place of STACK, or NULL. The process was not held then, its stacks are
	 * others by now: memfd gives the vDSO, and nothing else is read from it. */
	const struct unwind_stack *stacks;
	unsigned int max_frames; /* a thread; more are cut and marked */
	uint64_t timeout_ns;	 /* for all threads together */
};

/* Running unwinder. The fd becomes readable when there is something to read; unwind_read() until it
 * says 1. */
struct unwind;

/* Starts the child; inputs are borrowed only until it returns. 0 or -errno. */
int unwind_start(const struct unwind_request *req, struct unwind **out);
int unwind_fd(const struct unwind *u);
/* Takes what there is, never blocks: 1 when finished (*out: new reference, array of
 * {"tid":…,"stack":[frame…], "truncated":bool}; frame = DESIGN.md section 5's
 * {"address","module","build_id","offset","symbol"}, what is not known left out), 0: more to come,
 * -errno: it failed or ran out of time. */
int unwind_read(struct unwind *u, json_t **out);
void unwind_free(struct unwind *u); /* ends the child if it still runs, and reaps it */

/* All of it, blocking at most timeout_ns. */
int unwind_run(const struct unwind_request *req, json_t **out);

/* The signature of a crash: 16 hex digits over the signal number and the top frames (build ID and
 * offset; where a frame has neither, its symbol or "?"), the same for every process of the same
 * binaries, whatever its addresses. Frames of the C library's abort path (raise, abort,
 * __assert_fail …) on top are passed over. Pure. */
void unwind_signature(int signal, const json_t *stack, char out[17]);
