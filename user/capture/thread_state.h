/* SPDX-License-Identifier: MIT */
/* Register source "ptrace": what a stopped thread has in its registers, and the notes of a core
 * made of that, in the kernel's order and layout (fs/binfmt_elf.c, write_note_info()). */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "capture/notes.h"
#include "target/maps.h"
#include "target/process.h"

/* Crosses a socket between two processes of the same program; XSTATE_SIZE bytes follow each. */
struct thread_state {
	pid_t tid;
	uint32_t xstate_size;
	uint64_t pending, blocked; /* signals, masks as of the kernel's sigset */
	struct user_regs_struct regs;
	struct user_fpregs_struct fpregs;
};

struct thread_states { /* of many threads, one after the other, each 8-byte aligned */
	char *bytes;
	size_t size, room;
	size_t n;
};

/* Makes room for so many before anybody stands still: the memory is there, not only promised. More
 * may be added. 0 or -ENOMEM. */
int thread_states_reserve(struct thread_states *s, size_t threads);
/* Reads the registers of the stopped thread TID and appends them. -EOPNOTSUPP: a 32-bit task. */
int thread_states_add(struct thread_states *s, pid_t tid);
/* Takes SIZE received bytes apart; false when they do not hold N states. */
int thread_states_check(const struct thread_states *s);
/* The next one behind AT (NULL: the first), or NULL. */
const struct thread_state *thread_states_next(
	const struct thread_states *s, const struct thread_state *at);
static inline const void *thread_state_xstate(const struct thread_state *t)
{
	return t + 1;
}
void thread_states_free(struct thread_states *s);
#define _cleanup_thread_states_ __attribute__((cleanup(thread_states_free)))

/* The file of NT_FILE as the kernel lays it out: new bytes in *OUT, freed by the caller. Pure. */
int thread_state_file_note(const struct maps *maps, void **out, size_t *size);
/* The notes of a core: FIRST's registers come first (0: the leader's). Reads the rest (times,
 * names, auxv) from /proc through TASKFD. 0 or -errno. */
int thread_state_notes(const struct thread_states *s, const struct process *p, int taskfd,
	const struct maps *maps, pid_t first, struct notes *out);
