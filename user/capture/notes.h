/* SPDX-License-Identifier: MIT */
/* The notes of a core: registers and identity. A register source fills them (the kernel's pipe for
 * a crash, ptrace for a live process), the core writer passes them on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/registers.h"

struct note {
	const char *name; /* "CORE", "LINUX" … NUL-terminated, within the set's bytes */
	uint32_t type;	  /* NT_PRSTATUS … */
	uint32_t size;	  /* of desc, bytes */
	const void *desc; /* 4-byte aligned */
};

struct notes {
	struct note *v; /* in order; the trigger's thread first */
	size_t n;
	void *bytes; /* the raw segment that the notes point into; owned */
	size_t size;
	size_t threads; /* NT_PRSTATUS notes among them */
};

/* Parses SIZE raw bytes of a PT_NOTE segment (taken over on success). Hostile input: -EINVAL when
 * it does not hold together, never out of bounds. */
int notes_parse(void *bytes, size_t size, struct notes *out);
void notes_free(struct notes *n);
#define _cleanup_notes_ __attribute__((cleanup(notes_free)))

/* Register source "kernel": reads the head of the core that the kernel writes into FD (a
 * core_pattern pipe) up to the end of its notes, no further: what follows stays unread, which keeps
 * the process held. The program header count may be PN_XNUM; the notes are found through the first
 * header. -EINVAL: not a core; -E2BIG: over 1 GiB. */
int notes_read_pipe(int fd, struct notes *out);

/* Registers of all threads, in the order of the notes: a new array of n->threads elements, caller
 * frees. */
int notes_registers(const struct notes *n, struct thread_registers **out);
/* The one NT_SIGINFO, NT_AUXV, NT_FILE …, or NULL. */
const struct note *notes_find(const struct notes *n, uint32_t type);
