/* SPDX-License-Identifier: MIT */
/* Which memory goes where in the core: pure, decided before a byte is written. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ranges.h"
#include "rules/decision.h"
#include "target/maps.h"

/* Bits of /proc/PID/coredump_filter (Documentation/filesystems/proc.rst). */
enum plan_filter {
	FILTER_ANONYMOUS_PRIVATE = 1 << 0,
	FILTER_ANONYMOUS_SHARED = 1 << 1,
	FILTER_FILE_PRIVATE = 1 << 2,
	FILTER_FILE_SHARED = 1 << 3,
	FILTER_ELF_HEADERS = 1 << 4,
	FILTER_HUGETLB_PRIVATE = 1 << 5,
	FILTER_HUGETLB_SHARED = 1 << 6,
	FILTER_DAX_PRIVATE = 1 << 7,
	FILTER_DAX_SHARED = 1 << 8,
};

/* Why memory of the process is not in the core. */
enum plan_reason {
	PLAN_TAKEN,    /* it is */
	PLAN_NOTHING,  /* there is none: never written, or the kernel's own page */
	PLAN_IN_FILE,  /* unmodified pages of a file, which debuggers read there */
	PLAN_UNLINKED, /* the same, but the file has no name any more */
	PLAN_DONTDUMP,
	PLAN_SECRET,
	PLAN_DEVICE,
	PLAN_FILTER,
	PLAN_KIND, /* the dump kind does not ask for it */
	PLAN_VAST, /* reserved, never touched: see vast.h */
	PLAN_REASONS,
};

struct segment {
	const struct mapping
		*shared;	/* that it is part of, if that is shared; borrowed from the input */
	uint64_t start, end;	/* addresses */
	uint64_t file_size;	/* bytes from start that are in the core */
	uint64_t offset;	/* of them in the core */
	unsigned int prot;	/* PROT_* */
	bool untouched_is_zero; /* pages the process never touched need no reading */
	bool optional;		/* it is no loss if it cannot be read: the kernel's own pages */
};

struct plan_input {
	const struct maps *maps;
	const bool *elf;	     /* a mapping: whether its first bytes are an ELF file's */
	const struct ranges *wanted; /* CORE_MINI: the pages to take, settled */
	enum core_kind kind;
	unsigned int filter; /* enum plan_filter */
};

struct plan {
	struct segment *v; /* ascending; together they cover all mappings */
	size_t n, room;
	size_t *order;	      /* of the segments in the file; NULL: as they are */
	uint64_t memory_size; /* sum of file_size */
	struct {
		uint64_t bytes;
		size_t mappings;
	} left_out[PLAN_REASONS];
};

/* Why the whole of M is (PLAN_TAKEN) or is not in a full core under FILTER, as the kernel would
 * decide. */
enum plan_reason plan_whole(const struct mapping *m, unsigned int filter);
/* True where the kernel would put the first page of M in the core, if it is an ELF file's. */
bool plan_may_need_header(const struct mapping *m, unsigned int filter);

/* 0 or -ENOMEM. Offsets are not set yet. */
int plan_build(const struct plan_input *in, struct plan *out);
/* Cuts segment I, which is all in the core, at ADDRESS inside of it. 0 or -ENOMEM. */
int plan_cut(struct plan *p, size_t i, uint64_t address);
/* Puts first in the file what a core that is cut short needs most: the stack at SP[0], the
 * trigger's thread's, cut out of a large segment; then the N - 1 others' stacks, and all that is
 * small. 0 or -ENOMEM. */
int plan_order(struct plan *p, const uint64_t *sp, size_t n);
/* The segment that is the Ith in the file. */
static inline struct segment *plan_in_file(const struct plan *p, size_t i)
{
	return &p->v[p->order ? p->order[i] : i];
}
/* Sets the offsets, from FIRST (page aligned) on, and returns the size of the core; 0 if that is
 * past 2^63. */
uint64_t plan_place(struct plan *p, uint64_t first);
/* Words for a reason: "MADV_DONTDUMP" …; NULL for those that are no news. */
const char *plan_reason_text(enum plan_reason reason);
void plan_free(struct plan *p);
#define _cleanup_plan_ __attribute__((cleanup(plan_free)))
