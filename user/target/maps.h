/* SPDX-License-Identifier: MIT */
/* A process' mappings, from /proc/PID/task/TID/{maps,smaps}. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mapping_flags { /* VmFlags of smaps that matter here (Documentation/filesystems/proc.rst) */
	MAPPING_SHARED = 1 << 0,       /* 's' in the permissions */
	MAPPING_DONTDUMP = 1 << 1,     /* dd: MADV_DONTDUMP */
	MAPPING_IO = 1 << 2,	       /* io, pf: device memory */
	MAPPING_HUGETLB = 1 << 3,      /* ht */
	MAPPING_DONTFORK = 1 << 4,     /* dc: MADV_DONTFORK */
	MAPPING_WIPEONFORK = 1 << 5,   /* wf: MADV_WIPEONFORK */
	MAPPING_SHADOW_STACK = 1 << 6, /* ss */
	MAPPING_SECRET = 1 << 7,       /* memfd_secret: named /secretmem */
};

struct mapping {
	uint64_t start, end;   /* addresses, page aligned */
	uint64_t offset;       /* bytes into the file */
	uint64_t inode;	       /* 0: none, or SysV shared memory: mapping_has_file() */
	uint32_t major, minor; /* device */
	unsigned int prot;     /* PROT_READ | PROT_WRITE | PROT_EXEC */
	unsigned int flags;    /* enum mapping_flags */
	uint64_t anonymous;    /* bytes of private (written or anonymous) memory, from smaps; 0 from
				  maps */
	char *name;   /* as the kernel prints it, \012 escapes undone; "" if none. Hostile. */
	bool deleted; /* the file is unlinked (" (deleted)", cut off) */
};

struct maps {
	struct mapping *v; /* ascending, not overlapping */
	size_t n;
};

/* Parses LEN bytes of maps or smaps text (both forms); -EINVAL for text the kernel would not print.
 * Pure. */
int maps_parse(const char *text, size_t len, struct maps *out);
/* Reads smaps (or maps, if with_flags is false: much cheaper) below TASKFD, a /proc/PID/task/TID
 * directory. */
int maps_read(int taskfd, bool with_flags, struct maps *out);
void maps_free(struct maps *m);
#define _cleanup_maps_ __attribute__((cleanup(maps_free)))

/* Whether M is of a file. The inode alone does not say: it is the id of SysV shared memory, which
 * may be 0. */
static inline bool mapping_has_file(const struct mapping *m)
{
	return m->inode || m->major || m->minor;
}

/* The mapping that holds ADDRESS, or NULL. */
const struct mapping *maps_find(const struct maps *m, uint64_t address);
