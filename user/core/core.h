/* SPDX-License-Identifier: MIT */
/* The core writer: plan first (pure), then notes, then memory, streaming. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture/notes.h"
#include "rules/decision.h"
#include "target/maps.h"
#include "target/memory.h"

/* The note with the incident: its description is the JSON text, without a NUL. The type is a number
 * ("CTRP") that no note of the kernel has, since gdb goes by the type alone where it does not know
 * the owner. */
#define CORE_NOTE_OWNER	   "coretrap"
#define CORE_NOTE_INCIDENT 0x43545250u

struct core_request {
	const struct notes *notes;
	const struct maps *maps; /* read with flags */
	struct memory *memory;
	enum core_kind kind; /* full, heap or mini */
	enum core_compression compression;
	unsigned int compress_threads; /* 0: as many as the machine can spare */
	unsigned int coredump_filter;  /* bits of /proc/PID/coredump_filter */
	const json_t *incident;	       /* goes into the note owned by "coretrap"; may be NULL */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC, 0: none; past it the rest is left out, and said */
	uint64_t keep_free; /* bytes the file system must keep free; below, the rest is left out */
	uint64_t write_speed; /* bytes a second into a file; 0: as fast as it goes */
	int fd;		      /* regular file (holes are made) or a pipe; at offset 0 */
	void (*progress)(
		void *arg, uint64_t done, uint64_t total); /* bytes of memory; may be NULL */
	void *progress_arg;
};

struct core_result {
	uint64_t bytes;	       /* size of the file as written (compressed, or apparent size) */
	uint64_t memory_bytes; /* bytes of memory in it, without holes */
	uint64_t duration_ns;
	size_t threads, segments;
	bool complete; /* false: something that was asked for is missing; NOTES say what */
	json_t *notes; /* array of strings: unreadable pages, DONTDUMP left out, deadline …; owned
			*/
};

/* Writes the core. 0: a core that opens is in fd (maybe not complete). -errno: nothing that opens
 * was written, the caller removes the file: -ENOSPC, -EIO, -ENOMEM … *out is set in both cases and
 * freed by core_result_free(). */
int core_write(const struct core_request *req, struct core_result *out);
void core_result_free(struct core_result *r);
#define _cleanup_core_result_ __attribute__((cleanup(core_result_free)))
