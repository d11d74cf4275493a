/* SPDX-License-Identifier: MIT */
#include "core/core.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/copy.h"
#include "core/elf.h"
#include "core/mini.h"
#include "core/output.h"
#include "core/plan.h"
#include "core/report.h"
#include "core/vast.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

/* Which of the mapped files are ELF files: only their memory says. */
static int find_elf_files(const struct core_request *req, bool **out)
{
	_cleanup_free_ bool *elf = calloc(req->maps->n ? req->maps->n : 1, sizeof(*elf));

	if (!elf)
		return -ENOMEM;
	for (size_t i = 0; i < req->maps->n; i++) {
		const struct mapping *m = &req->maps->v[i];
		char magic[SELFMAG];

		if (plan_may_need_header(m, req->coredump_filter))
			elf[i] = req->memory->read(req->memory, m->start, magic, SELFMAG) ==
					 SELFMAG &&
				 memcmp(magic, ELFMAG, SELFMAG) == 0;
	}
	*out = TAKE_PTR(elf);
	return 0;
}

/* Registers that are not this machine's (a 32-bit task's) decide no order. */
static int order_plan(const struct core_request *req, struct plan *plan)
{
	_cleanup_free_ struct thread_registers *threads = NULL;
	size_t n = notes_registers(req->notes, &threads) == 0 ? req->notes->threads : 0;
	_cleanup_free_ uint64_t *sp = calloc(n + 1, sizeof(*sp));

	if (!sp)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		sp[i] = registers_sp(&threads[i]);
	return plan_order(plan, sp, n);
}

static int make_plan(const struct core_request *req, struct plan *plan, json_t *notes)
{
	_cleanup_ranges_ struct ranges wanted = {0};
	_cleanup_free_ bool *elf = NULL;
	struct plan_input input = {
		.maps = req->maps,
		.wanted = &wanted,
		.kind = req->kind,
		.filter = req->coredump_filter,
	};
	int r;

	if (req->kind > CORE_MINI)
		return -EINVAL;
	r = find_elf_files(req, &elf);
	if (r == 0 && req->kind == CORE_MINI)
		r = mini_select(req, elf, &wanted, notes);
	if (r < 0)
		return r;
	input.elf = elf;
	r = plan_build(&input, plan);
	if (r == 0)
		r = vast_leave_out(plan, req->memory);
	return r == 0 ? order_plan(req, plan) : r;
}

static int report_copy(json_t *notes, const struct copy *copy)
{
	static const char *const stops[] = {
		[COPY_GONE] = "process gone",
		[COPY_DEADLINE] = "deadline passed",
		[COPY_DISK] = "free space at its limit",
	};
	int r = 0;

	if (copy->stop)
		r = report_note(
			notes, "%s: %" PRIu64 " bytes missing", stops[copy->stop], copy->missing);
	if (r == 0 && copy->unreadable_pages)
		r = report_note(notes,
			"unreadable: %" PRIu64 " pages in %zu mappings, the first at 0x%" PRIx64,
			copy->unreadable_pages, copy->unreadable_segments, copy->unreadable_first);
	if (r == 0 && copy->unknown_shared)
		r = report_note(notes,
			"shared memory: pages that only other processes touched are missing");
	return r;
}

static int write_planned(const struct core_request *req, struct plan *plan, struct core_result *out)
{
	_cleanup_elf_head_ struct elf_head head = {0};
	_cleanup_output_ struct output *output = NULL;
	_cleanup_free_ char *incident = NULL;
	struct copy copy = {0};
	uint64_t size;
	int r;

	if (req->incident) {
		incident = json_dumps(req->incident, JSON_COMPACT | JSON_DIGITS);
		if (!incident)
			return -ENOMEM;
	}
	r = elf_build_head(
		req->notes, incident, incident ? strlen(incident) : 0, plan, &head, &size);
	if (r == 0)
		r = output_open(req->fd, req->compression, &output);
	if (r == 0)
		output_set_threads(output, req->compress_threads);
	output_set_speed(output, req->write_speed);
	if (r == 0)
		r = output_write(output, 0, head.data, head.size);
	if (r == 0)
		r = copy_memory(req, plan, output, &copy);
	if (r == 0)
		r = output_finish(output, size, &out->bytes);
	if (r < 0)
		return r;
	out->memory_bytes = copy.copied;
	out->complete = !copy.stop && !copy.unreadable_pages;
	return report_copy(out->notes, &copy);
}

int core_write(const struct core_request *req, struct core_result *out)
{
	_cleanup_plan_ struct plan plan = {0};
	uint64_t start = clock_now_ns(CLOCK_MONOTONIC);
	int r;

	*out = (struct core_result){.threads = req->notes->threads, .notes = json_array()};
	if (!out->notes)
		return -ENOMEM;
	r = make_plan(req, &plan, out->notes);
	if (r == 0)
		r = report_left_out(out->notes, &plan);
	if (r == 0)
		r = write_planned(req, &plan, out);
	out->segments = plan.n;
	out->duration_ns = clock_now_ns(CLOCK_MONOTONIC) - start;
	return r;
}

void core_result_free(struct core_result *r)
{
	json_decref(r->notes);
	r->notes = NULL;
}
