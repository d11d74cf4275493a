/* SPDX-License-Identifier: MIT */
#include "probe/perf_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define REGISTERS 20

size_t perf_record_copy(
	const char *ring, uint64_t size, uint64_t at, uint64_t end, char out[PERF_RECORD_MAX])
{
	struct perf_event_header header;
	uint64_t offset = at & (size - 1), first;

	/* Records are multiples of 8 bytes, as the header is: it never wraps. */
	if (end - at < sizeof(header) || size - offset < sizeof(header))
		return 0;
	memcpy(&header, ring + offset, sizeof(header));
	if (header.size < sizeof(header) || header.size > end - at)
		return 0;
	first = size - offset < header.size ? size - offset : header.size;
	memcpy(out, ring + offset, first);
	memcpy(out + first, ring, header.size - first);
	return header.size;
}

bool perf_record_lost(const void *record, size_t size, uint64_t *lost)
{
	struct {
		struct perf_event_header header;
		uint64_t id, lost;
	} r;

	if (size < sizeof(r))
		return false;
	memcpy(&r, record, sizeof(r));
	*lost = r.lost;
	return r.header.type == PERF_RECORD_LOST;
}

/* The order of the bits in PERF_RECORD_REGISTERS. */
static void load_registers(const uint64_t v[REGISTERS], struct user_regs_struct *r)
{
	*r = (struct user_regs_struct){
		.rax = v[0],
		.rbx = v[1],
		.rcx = v[2],
		.rdx = v[3],
		.rsi = v[4],
		.rdi = v[5],
		.rbp = v[6],
		.rsp = v[7],
		.rip = v[8],
		.eflags = v[9],
		.cs = v[10],
		.ss = v[11],
		.r8 = v[12],
		.r9 = v[13],
		.r10 = v[14],
		.r11 = v[15],
		.r12 = v[16],
		.r13 = v[17],
		.r14 = v[18],
		.r15 = v[19],
	};
}

int perf_record_parse(const void *record, size_t size, struct perf_sample *out)
{
	struct {
		struct perf_event_header header;
		uint32_t pid, tid;
		uint64_t abi, registers[REGISTERS], stack_size;
	} r;
	const char *stack = (const char *)record + sizeof(r);
	uint64_t used = 0;

	if (size < sizeof(r))
		return -EINVAL;
	memcpy(&r, record, sizeof(r));
	if (r.header.type != PERF_RECORD_SAMPLE || r.abi != PERF_SAMPLE_REGS_ABI_64 ||
		r.stack_size > size - sizeof(r))
		return -EINVAL;
	/* Behind the bytes stands how many of them were read. */
	if (r.stack_size && size - sizeof(r) - r.stack_size >= sizeof(used))
		memcpy(&used, stack + r.stack_size, sizeof(used));
	*out = (struct perf_sample){
		.pid = (pid_t)r.pid,
		.registers.tid = (pid_t)r.tid,
		.stack = (void *)stack,
		.stack_size = used < r.stack_size ? used : r.stack_size,
	};
	load_registers(r.registers, &out->registers.regs);
	return 0;
}

int perf_sample_keep(const struct perf_sample *sample, int procfd, struct perf_sample *out)
{
	_cleanup_free_ char *comm = NULL;
	_cleanup_free_ void *stack = malloc(sample->stack_size + 1);
	char name[64];

	if (!stack)
		return -ENOMEM;
	memcpy(stack, sample->stack, sample->stack_size);
	*out = *sample;
	out->stack = TAKE_PTR(stack);
	/* A thread that has ended meanwhile has no name any more. */
	snprintf(name, sizeof(name), "task/%d/comm", sample->registers.tid);
	if (io_read_file_at(procfd, name, 64, &comm, NULL) == 0)
		snprintf(out->comm, sizeof(out->comm), "%.*s", (int)strcspn(comm, "\n"), comm);
	return 0;
}

void perf_sample_free(struct perf_sample *sample)
{
	free(sample->stack);
	sample->stack = NULL;
	sample->stack_size = 0;
}
