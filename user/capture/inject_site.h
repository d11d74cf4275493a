/* SPDX-License-Identifier: MIT */
/* Where in a process a system call can be made to run: instructions that are there already, and
 * stack bytes that nobody uses. One file an architecture. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "target/maps.h"

struct inject_site {
	uint64_t gadget;    /* `syscall; ret` */
	uint64_t restorer;  /* a signal handler's return: `mov $15, %eax; syscall` */
	uint64_t stack_low; /* the mapping "[stack]" */
	uint64_t stack_high;
};

/* Looks for the instructions below TASKFD (a few MiB are read; best before the process is stopped).
 * -ENOENT: it has none, *WHAT (static text) says what is missing. */
int inject_find_site(
	int memfd, const struct maps *maps, struct inject_site *out, const char **what);
/* The instructions still stand there. */
bool inject_check_site(int memfd, const struct inject_site *site);

/* Finds the gadget (`syscall; ret`) and the restorer in LEN bytes of code; offsets, or -1. Pure. */
ssize_t inject_find_gadget(const uint8_t *code, size_t len);
ssize_t inject_find_restorer(const uint8_t *code, size_t len);

/* Two signal frames for the bytes from BASE (64-byte aligned) on. Whoever returns to the first gets
 * back REGS, MASK and its floating-point state; whoever returns to the second exits. */
struct inject_frames {
	uint64_t base;
	uint64_t own, exits; /* addresses: the stack pointer that returns to it */
	size_t size;
	uint8_t *bytes; /* owned */
};

#define INJECT_EXIT_CODE 0xc7 /* of a clone that nobody watches any more */

struct inject_state {		      /* of the thread that the call runs in */
	struct user_regs_struct regs; /* as they are to be when it goes on by itself */
	uint64_t mask;		      /* blocked signals */
	const void *xstate;	      /* as NT_X86_XSTATE has it */
	size_t xstate_size;
};

/* 0, -ENOMEM, or -EINVAL for a floating-point state that does not hold together. Pure. */
int inject_build_frames(const struct inject_site *site, const struct inject_state *state,
	uint64_t base, struct inject_frames *out);
void inject_frames_free(struct inject_frames *f);

/* REGS, ready to leave for the call: should nobody interfere, the next instruction restores all. */
void inject_set_start(struct user_regs_struct *regs, const struct inject_site *site,
	const struct inject_frames *frames);
/* REGS, stopped at the entry of that call, changed into another call, which returns to FRAME. */
void inject_set_call(
	struct user_regs_struct *regs, long nr, const uint64_t args[6], uint64_t frame);
/* The state in which a broken or restarting call of REGS is right when it is restored by a signal
 * return, for which the kernel restarts nothing. Pure. */
void inject_make_restorable(struct user_regs_struct *regs);
/* "Now in a system call", as opposed to computing. */
static inline bool inject_in_call(const struct user_regs_struct *regs)
{
	return (int64_t)regs->orig_rax >= 0;
}
