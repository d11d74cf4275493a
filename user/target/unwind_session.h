/* SPDX-License-Identifier: MIT */
/* libdwfl over already opened files, copied stack bytes and /proc/…/mem. Runs in the sandbox. */
#pragma once

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/unwind.h"
#include "target/unwind_modules.h"

/* Where distributions put separate debug files; "/" of the process that unwinds. */
#define UNWIND_DEBUG_ROOT "/usr/lib/debug/.build-id"

#define UNWIND_REGISTERS 17 /* DWARF numbers of x86-64: 0..15 general, 16 the return address */
#define UNWIND_BP	 6
#define UNWIND_SP	 7
#define UNWIND_PC	 16

struct unwind_place { /* what is known of a code address; strings live as long as the session */
	uint64_t pc;
	const char *module; /* NULL: none */
	int error;	    /* -errno if the module's file could not be opened */
	const unsigned char *build_id;
	size_t build_id_size;
	bool has_offset;
	uint64_t offset;    /* as the file was linked: what addr2line takes */
	const char *symbol; /* NULL: unknown */
};

struct unwind_session {
	const struct unwind_request *req;
	const struct unwind_modules *modules;
	struct unwind_stack stack; /* of the thread that is being unwound */
	Dwfl *dwfl;
	Elf *arch; /* tells libdwfl the machine when there is no module */
	Elf *vdso;
	uint64_t registers[UNWIND_REGISTERS]; /* where libdwfl starts */
	struct unwind_page *page;	      /* last page read from memfd */
	struct unwind_place *places;	      /* cache, threads share most of their frames */
};

int unwind_session_open(const struct unwind_request *req, const struct unwind_modules *modules,
	struct unwind_session *s);
void unwind_session_close(struct unwind_session *s);

/* One word of the process' memory. */
bool unwind_session_word(struct unwind_session *s, uint64_t address, uint64_t *out);
/* Whether ADDRESS lies in an executable mapping. */
bool unwind_session_is_code(const struct unwind_session *s, uint64_t address);
/* Looks PC up; the result is borrowed until the next call. */
const struct unwind_place *unwind_session_place(struct unwind_session *s, uint64_t pc);
