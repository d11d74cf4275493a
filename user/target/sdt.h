/* SPDX-License-Identifier: MIT */
/* Static probes (USDT): what the notes of a file say of them. Notes are read in the sandbox. */
#pragma once

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sdt_argument_kind {
	SDT_NONE,
	SDT_CONSTANT,
	SDT_REGISTER,
	SDT_MEMORY, /* behind a register */
};

struct sdt_argument {
	uint8_t kind;	   /* enum sdt_argument_kind */
	uint8_t size;	   /* 1, 2, 4 or 8 bytes */
	uint8_t is_signed; /* 1: it is; no bool, since it comes from the process that parses */
	uint8_t reg;	   /* of user_regs_struct: the word's number */
	int64_t value;	   /* the constant, or the offset to the register */
};

/* The argument of that NUMBER, from 1 on, in text such as "8@%rdi -4@$5 4@-20(%rbp)"; 0, -ENOENT:
 * there are not so many; -EOPNOTSUPP: it is of a form, or a type, that is not supported. Pure. */
int sdt_parse_argument(const char *text, unsigned int number, struct sdt_argument *out);

struct sdt_place {
	uint64_t address;   /* as the file was linked */
	uint64_t semaphore; /* 0: it has none */
	struct sdt_argument argument;
};

/* Where the probe PROVIDER:NAME stands, at most MAX places; the argument NUMBER (0: none is wanted)
 * of each. The number of places; -ENOENT: there is no such probe; -E2BIG: more than MAX; and as
 * sdt_parse_argument(). */
int sdt_find(Elf *elf, const char *provider, const char *name, unsigned int number,
	struct sdt_place *out, size_t max);
