/* SPDX-License-Identifier: MIT */
/* Where a capture reads memory from: an interface, so that the core writer and the unwinder do not
 * care whether the process is dying, stopped, or a snapshot. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/maps.h"

#define MEMORY_PAGE 4096u

enum memory_page { /* one byte a page, from /proc/PID/pagemap */
	MEMORY_UNTOUCHED =
		0, /* never written: reads as zeros (anonymous) or as the file (file mapping) */
	MEMORY_FILE = 1,      /* present, page of a file or of shared memory */
	MEMORY_ANONYMOUS = 2, /* present or swapped, private to the process */
};

struct memory {
	/* Reads up to LEN bytes at ADDRESS. Returns the bytes read (fewer when an unreadable page
	 * follows), -EFAULT when the page at ADDRESS cannot be read, -ESRCH when the process is
	 * gone. */
	ssize_t (*read)(struct memory *m, uint64_t address, void *buf, size_t len);
	/* State of PAGES pages from page-aligned ADDRESS on, into STATES; 0 or -errno. */
	int (*pages)(struct memory *m, uint64_t address, size_t pages, uint8_t *states);
	/* Corrects STATES of untouched pages of a shared mapping: MEMORY_FILE where others have put
	 * something, which reading then maps, but does not allocate. 0 or -errno: not known. May be
	 * NULL. */
	int (*shared)(struct memory *m, const struct mapping *mapping, uint64_t address,
		size_t pages, uint8_t *states);
	/* Moves *ADDRESS on to the first page before END that may not be MEMORY_UNTOUCHED, or to
	 * END; it stays where it is on kernels that cannot tell. 0 or -ESRCH. May be NULL. */
	int (*skip)(struct memory *m, uint64_t *address, uint64_t end);
	int memfd;     /* /proc/…/mem */
	int pagemapfd; /* /proc/…/pagemap */
	int taskfd;    /* the directory they were opened in */
};

/* Opens mem and pagemap below TASKFD (a /proc/PID/task/TID directory: the leader may be gone). */
int memory_open(int taskfd, struct memory *out);
void memory_close(struct memory *m);
#define _cleanup_memory_ __attribute__((cleanup(memory_close)))
