/* SPDX-License-Identifier: MIT */
/* The files behind a process' executable mappings, opened while there is the privilege to, not yet
 * parsed. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/maps.h"

struct unwind_file {		       /* one file, however often it is mapped */
	const struct mapping *mapping; /* its first executable mapping, borrowed */
	int fd;			       /* -1: could not be opened, and why: */
	int error;		       /* -errno */
};

struct unwind_load { /* one executable mapping of one of them */
	const struct mapping *mapping;
	size_t file;
};

struct unwind_modules {
	struct unwind_file *files;
	size_t file_count;
	struct unwind_load *loads;
	size_t load_count;
	size_t left_out; /* executable mappings of files past the limit */
	void *vdso;	 /* image of the vDSO, and where it is mapped */
	size_t vdso_size;
	uint64_t vdso_start;
};

#define UNWIND_FILES_MAX 16384u

/* Opens what it can below PROCFD, a /proc/PID directory; TID is a live thread, for when the leader
 * is gone. MEMFD (may be -1) gives the vDSO. Files that cannot be opened are in the list with their
 * error. 0 or -ENOMEM. */
int unwind_modules_open(
	int procfd, int memfd, pid_t tid, const struct maps *maps, struct unwind_modules *out);
void unwind_modules_free(struct unwind_modules *m);
