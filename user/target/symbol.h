/* SPDX-License-Identifier: MIT */
/* Where in a file a function's code lies, by its symbol. Runs in the sandbox: ELF files are
 * hostile.
 */
#pragma once

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>

#include "target/code.h"

#define SYMBOL_RANGES_MAX 8
#define SYMBOL_NEAR_MAX	  128

struct symbol {
	struct code_range ranges[SYMBOL_RANGES_MAX]; /* bytes are the Elf's */
	bool is_part[SYMBOL_RANGES_MAX]; /* not the function itself: the compiler split it off */
	size_t n;			 /* several functions may have one name */
	char near[SYMBOL_NEAR_MAX];	 /* -ENOENT: one that is nearly the same; "": none is */
};

/* NAME is looked up in the symbols of DEBUG, if it is there (a separate file of debug information),
 * else in ELF's, .symtab's before .dynsym's. 0; -ENOENT: there is no such function; -ENODATA: the
 * file has no table that names its inner functions, and exports none of that name; -EOPNOTSUPP: the
 * function is chosen at run time; -ERANGE: it has no size; -E2BIG: there
 * are too many of that name; -EILSEQ: the file makes no sense. */
int symbol_find(Elf *elf, Elf *debug, const char *name, struct symbol *out);
/* Where in ELF's file the byte at ADDRESS (as it was linked) lies; false: nowhere, or not in a
 * segment with these FLAGS (PF_X: code; 0: any). */
bool symbol_file_offset(Elf *elf, uint64_t address, uint32_t flags, uint64_t *offset);
