/* SPDX-License-Identifier: MIT */
/* Where in a file to put probes: at the beginning of a function and wherever it is left, or at two
 * static probes.
 *
 * The file is hostile: it is parsed, and its code read, in a child that can do nothing else, as the
 * unwinder's (target/unwind.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "target/sdt.h"

enum place_kind {
	PLACE_ENTRY,
	PLACE_EXIT,
	PLACE_BRANCH, /* a jump that leaves the function if CONDITION holds */
	PLACE_BEGIN,  /* static probes */
	PLACE_END,
	PLACE_KINDS,
};

struct place {
	uint64_t offset;    /* bytes into the file */
	uint64_t semaphore; /* the same of a static probe's count of listeners; 0: none */
	uint8_t kind;	    /* enum place_kind */
	uint8_t condition;  /* as in the instruction */
	struct sdt_argument argument;
};

/* Whether a probe there means the same. Pure. */
bool place_is_equal(const struct place *a, const struct place *b);

#define PLACES_MAX     320 /* CODE_EXITS_MAX and the entries */
#define PLACES_WHY_MAX 256
#define SDT_WORDS      27 /* of user_regs_struct */

struct places {
	struct place v[PLACES_MAX];
	uint32_t n;
	int32_t error;		  /* 0 or -errno */
	char why[PLACES_WHY_MAX]; /* what is wrong, in words: of a name, hostile */
};

struct places_wish {
	int fd;		       /* of the file, for reading */
	const char *provider;  /* NULL: of a function */
	const char *name;      /* the function's, or that of the probe which begins */
	const char *end;       /* of the probe which ends */
	unsigned int argument; /* of static probes, which joins them: from 1 on; 0: none does */
	unsigned int timeout_ms;
};

#define PLACES_PATIENT_MS 5000 /* enough for any program: more processor time it never gets */

/* 0, or -errno and OUT->why: what is wanted is not there, or cannot be watched. Blocks while the
 * file is read, TIMEOUT_MS at most. */
int places_find(const struct places_wish *wish, struct places *out);
