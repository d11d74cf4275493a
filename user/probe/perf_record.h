/* SPDX-License-Identifier: MIT */
/* Records of perf's ring buffer (linux/perf_event.h), parsed as untrusted. */
#pragma once

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/process.h"
#include "target/registers.h"

#define PERF_RECORD_SAMPLE_TYPE (PERF_SAMPLE_TID | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER)
/* All that 64-bit code has (asm/perf_regs.h): not DS, ES, FS and GS. */
#define PERF_RECORD_REGISTERS 0xff0fffULL
#define PERF_RECORD_MAX	      (64u << 10) /* the size of a record is 16 bits */

struct perf_sample {
	pid_t pid;
	char comm[PROCESS_COMM_MAX]; /* the thread's */
	struct thread_registers registers;
	void *stack; /* from the stack pointer up */
	size_t stack_size;
};

/* Copies the record at position AT of a ring of SIZE bytes (a power of two), whose records end at
 * END, to OUT; returns its size, 0: it is none. */
size_t perf_record_copy(
	const char *ring, uint64_t size, uint64_t at, uint64_t end, char out[PERF_RECORD_MAX]);
/* Whether it tells of records that found no room, and of how many. */
bool perf_record_lost(const void *record, size_t size, uint64_t *lost);
/* A sample in user space's terms; OUT->stack points into RECORD. -EINVAL: it is none, or has no
 * registers.
 */
int perf_record_parse(const void *record, size_t size, struct perf_sample *out);

/* A copy of its own, with the thread's name from below PROCFD; perf_sample_free(). */
int perf_sample_keep(const struct perf_sample *sample, int procfd, struct perf_sample *out);
void perf_sample_free(struct perf_sample *sample);
