/* SPDX-License-Identifier: MIT */
#include "probe/profile_fold.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "target/memory.h"
#include "target/unwind.h"

#define FRAMES_MAX 64

struct line {
	char *text;
	uint64_t count;
};

struct lines {
	struct line *v;
	size_t n;
};

static void free_lines(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].text);
	free(l->v);
}

/* Names were chosen by others: what would end a frame or a line does not. */
static void put_name(FILE *f, const char *name)
{
	for (; *name; name++)
		putc(*name == ';' || (unsigned char)*name < ' ' || *name == 0x7f ? '_' : *name, f);
}

static void put_frame(FILE *f, const json_t *frame)
{
	const char *symbol = json_get_text(frame, "symbol", NULL),
		   *module = json_get_text(frame, "module", NULL),
		   *offset = json_get_text(frame, "offset", NULL),
		   *address = json_get_text(frame, "address", "?");
	const char *base = module ? strrchr(module, '/') : NULL;

	putc(';', f);
	if (symbol) {
		put_name(f, symbol);
		return;
	}
	/* Nothing names it: its place in its file does, which is the same in every process. */
	if (module) {
		put_name(f, base ? base + 1 : module);
		putc('+', f);
	}
	put_name(f, module && offset ? offset : address);
}

static char *fold_one(const json_t *thread, const char *comm)
{
	const json_t *stack = json_object_get(thread, "stack");
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	bool failed;

	if (!f)
		return NULL;
	put_name(f, comm[0] ? comm : "?");
	if (json_is_true(json_object_get(thread, "truncated")))
		fputs(";[…]", f);
	for (size_t i = json_array_size(stack); i > 0; i--)
		put_frame(f, json_array_get(stack, i - 1));
	failed = ferror(f);
	if (fclose(f) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}

static int compare_text(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return strcmp(x->text, y->text);
}

static int compare_count(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->count != y->count ? (x->count > y->count ? -1 : 1) : strcmp(x->text, y->text);
}

/* Equal lines become one with their sum. */
static void merge(struct lines *l)
{
	size_t kept = 0;

	qsort(l->v, l->n, sizeof(*l->v), compare_text);
	for (size_t i = 0; i < l->n; i++) {
		if (kept && strcmp(l->v[kept - 1].text, l->v[i].text) == 0) {
			l->v[kept - 1].count += l->v[i].count;
			free(l->v[i].text);
		} else {
			l->v[kept++] = l->v[i];
		}
	}
	l->n = kept;
	qsort(l->v, l->n, sizeof(*l->v), compare_count);
}

static int print(const struct lines *l, char **out)
{
	size_t size;
	FILE *f = open_memstream(out, &size);

	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		fprintf(f, "%s %llu\n", l->v[i].text, (unsigned long long)l->v[i].count);
	return fclose(f) == 0 ? 0 : -ENOMEM;
}

static int count_stacks(
	const json_t *threads, const struct perf_sample *samples, size_t n, char **text)
{
	_cleanup_(free_lines) struct lines lines = {.v = calloc(n + 1, sizeof(*lines.v))};

	if (!lines.v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		char *line = fold_one(json_array_get(threads, i), samples[i].comm);

		if (!line)
			return -ENOMEM;
		lines.v[lines.n++] = (struct line){.text = line, .count = 1};
	}
	if (lines.n)
		merge(&lines);
	return print(&lines, text);
}

static int unwind_samples(const struct process *process, const struct maps *at_start,
	const struct perf_sample *samples, size_t n, uint64_t timeout_ns, json_t **threads)
{
	_cleanup_free_ struct thread_registers *registers = calloc(n, sizeof(*registers));
	_cleanup_free_ struct unwind_stack *stacks = calloc(n, sizeof(*stacks));
	_cleanup_memory_ struct memory memory = {.memfd = -1, .pagemapfd = -1, .taskfd = -1};
	_cleanup_maps_ struct maps maps = {};
	_cleanup_close_ int taskfd = process_open_live_task(process, NULL);
	struct unwind_request request = {
		.procfd = process->procfd,
		.memfd = -1,
		.maps = at_start,
		.threads = registers,
		.thread_count = n,
		.stacks = stacks,
		.max_frames = FRAMES_MAX,
		.timeout_ns = timeout_ns,
	};

	if (!registers || !stacks)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		registers[i] = samples[i].registers;
		stacks[i] = (struct unwind_stack){registers_sp(&samples[i].registers),
			samples[i].stack, samples[i].stack_size};
	}
	/* What was mapped meanwhile counts too; a process that is gone has only what it had. */
	if (taskfd >= 0 && maps_read(taskfd, false, &maps) == 0 && maps.n)
		request.maps = &maps;
	if (taskfd >= 0 && memory_open(taskfd, &memory) == 0)
		request.memfd = memory.memfd;
	return unwind_run(&request, threads);
}

int profile_fold(const struct process *process, const struct maps *maps,
	const struct perf_sample *samples, size_t n, uint64_t timeout_ns, char **text,
	uint64_t *folded)
{
	_cleanup_json_ json_t *threads = NULL;
	int r = n ? unwind_samples(process, maps, samples, n, timeout_ns, &threads) : 0;

	if (r == 0)
		r = count_stacks(threads, samples, n, text);
	if (r == 0)
		*folded = n;
	return r;
}
