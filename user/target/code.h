/* SPDX-License-Identifier: MIT */
/* Where the machine code of a function is left. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct code_range {
	uint64_t start; /* address, as the file was linked */
	uint64_t size;
	const uint8_t *bytes;
};

struct code_exit {
	uint64_t address;
	bool conditional;  /* a jump that is only taken if CONDITION holds */
	uint8_t condition; /* as in the instruction: its low four bits */
};

#define CODE_EXITS_MAX 256 /* each costs when it is probed, and more when that ends */

/* The returns in RANGES, which are all parts of one function, and the jumps that may lead out of
 * them. Those whose target is computed are among them, unless it is looked up in a table. Returns
 * how many there are, 0: it is never left; -EILSEQ: it is not all code; -E2BIG: more than
 * CODE_EXITS_MAX; -ENOMEM. */
int code_find_exits(
	const struct code_range *ranges, size_t n, struct code_exit out[CODE_EXITS_MAX]);
