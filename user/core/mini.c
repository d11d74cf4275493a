/* SPDX-License-Identifier: MIT */
#include "core/mini.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "core/plan.h"
#include "core/report.h"
#include "lib/cleanup.h"

#define RED_ZONE	 128UL	      /* below sp, the leaf function's (x86-64 psABI) */
#define STACK_MAX	 (1UL << 20)  /* bytes of one thread's stack */
#define SEARCHED_MAX	 (64UL << 10) /* bytes of it whose words are taken as pointers */
#define POINTED_PAGES	 16384UL      /* 64 MiB that registers and stacks point to */
#define RUNTIME_DATA_MAX (64UL << 10) /* bytes of each written mapping of libc and the loader */
#define LINK_MAPS_MAX	 65536U	      /* libraries; a broken list may be a circle */

/* A set of page addresses, open addressing; 0 is free, page 0 is never in it. */
struct page_set {
	uint64_t *slots; /* 4 * POINTED_PAGES */
	size_t n;
};

struct selection {
	const struct core_request *req;
	struct ranges *ranges;
	struct page_set pointed;
	char *stack; /* of SEARCHED_MAX */
	size_t cut_stacks;
	uint64_t dropped; /* pointers to pages that came after the set was full */
};

static uint64_t page_of(uint64_t address)
{
	return address & ~(uint64_t)(MEMORY_PAGE - 1);
}

/* -ENOSPC when PAGE is new and the set is full; 1 when it was added; 0 when it was there. */
static int set_add(struct page_set *set, uint64_t page)
{
	const size_t mask = 4 * POINTED_PAGES - 1;
	size_t i = (size_t)((page / MEMORY_PAGE) * 0x9E3779B97F4A7C15ULL >> 40) & mask;

	while (set->slots[i] && set->slots[i] != page)
		i = (i + 1) & mask;
	if (set->slots[i])
		return 0;
	if (set->n == POINTED_PAGES)
		return -ENOSPC;
	set->slots[i] = page;
	set->n++;
	return 1;
}

static const struct mapping *dumpable(const struct selection *s, uint64_t address)
{
	const struct mapping *m = maps_find(s->req->maps, address);

	return m && plan_whole(m, s->req->coredump_filter) == PLAN_TAKEN ? m : NULL;
}

static int take_pointed(struct selection *s, uint64_t address)
{
	uint64_t page = page_of(address);
	int r;

	if (!page || !dumpable(s, address))
		return 0;
	r = set_add(&s->pointed, page);
	if (r == -ENOSPC) {
		s->dropped++;
		return 0;
	}
	return r > 0 ? ranges_add(s->ranges, page, page + MEMORY_PAGE) : 0;
}

/* The pages of [address, address + size), as far as they may be dumped. */
static int take_bytes(struct selection *s, uint64_t address, uint64_t size)
{
	const struct mapping *m = dumpable(s, address);
	uint64_t end;

	if (!m || __builtin_add_overflow(address, size, &end))
		return 0;
	end = end < m->end ? page_of(end + MEMORY_PAGE - 1) : m->end;
	return ranges_add(s->ranges, page_of(address), end);
}

static int take_stack(struct selection *s, uint64_t sp)
{
	uint64_t start = page_of(sp - RED_ZONE), end;
	const struct mapping *m = dumpable(s, sp);
	ssize_t n;
	int r = 0;

	if (!m)
		return 0;
	if (start < m->start)
		start = m->start;
	end = m->end;
	if (end - start > STACK_MAX) {
		end = start + STACK_MAX;
		s->cut_stacks++;
	}
	r = ranges_add(s->ranges, start, end);
	if (r < 0)
		return r;
	sp &= ~(uint64_t)(sizeof(uint64_t) - 1);
	n = s->req->memory->read(s->req->memory, sp, s->stack,
		m->end - sp < SEARCHED_MAX ? m->end - sp : SEARCHED_MAX);
	for (ssize_t i = 0; r == 0 && i + (ssize_t)sizeof(uint64_t) <= n; i += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, s->stack + i, sizeof(word));
		r = take_pointed(s, word);
	}
	return r;
}

/* All words of the register set: those that are no addresses find no mapping. */
static int take_registers(struct selection *s, const struct thread_registers *t)
{
	uint64_t words[sizeof(t->regs) / sizeof(uint64_t)];
	int r = 0;

	memcpy(words, &t->regs, sizeof(words));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(words); i++)
		r = take_pointed(s, words[i]);
	/* The thread's own descriptor, struct pthread, is longer than what its page may have left.
	 */
	return r == 0 ? take_bytes(s, t->regs.fs_base, MEMORY_PAGE) : r;
}

static int take_threads(struct selection *s)
{
	_cleanup_free_ struct thread_registers *threads = NULL;
	int r = notes_registers(s->req->notes, &threads);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < s->req->notes->threads; i++)
		r = take_registers(s, &threads[i]);
	for (size_t i = 0; r == 0 && i < s->req->notes->threads; i++)
		r = take_stack(s, registers_sp(&threads[i]));
	return r;
}

static bool read_object(const struct selection *s, uint64_t address, void *out, size_t size)
{
	return s->req->memory->read(s->req->memory, address, out, size) == (ssize_t)size;
}

static uint64_t find_auxv(const struct notes *notes, uint64_t type)
{
	const struct note *n = notes_find(notes, NT_AUXV);

	for (size_t i = 0; n && i + sizeof(Elf64_auxv_t) <= n->size; i += sizeof(Elf64_auxv_t)) {
		Elf64_auxv_t a;

		memcpy(&a, (const char *)n->desc + i, sizeof(a));
		if (a.a_type == type)
			return a.a_un.a_val;
	}
	return 0;
}

/* The program's dynamic section, through the auxiliary vector's program headers; false if it has
 * none. */
static bool find_dynamic(const struct selection *s, uint64_t *address, uint64_t *size)
{
	uint64_t at = find_auxv(s->req->notes, AT_PHDR), n = find_auxv(s->req->notes, AT_PHNUM);
	uint64_t bias = 0;
	Elf64_Phdr dynamic = {0};

	for (uint64_t i = 0; at && i < n && i < PN_XNUM; i++) {
		Elf64_Phdr p;

		if (!read_object(s, at + i * sizeof(p), &p, sizeof(p)))
			break;
		if (p.p_type == PT_PHDR)
			bias = at - p.p_vaddr;
		if (p.p_type == PT_DYNAMIC)
			dynamic = p;
	}
	*address = bias + dynamic.p_vaddr;
	*size = dynamic.p_memsz;
	return dynamic.p_type == PT_DYNAMIC && dynamic.p_memsz;
}

static int take_link_map(struct selection *s, const struct link_map *l, uint64_t address)
{
	int r = take_bytes(s, address, sizeof(*l));

	if (r == 0)
		r = take_bytes(s, (uintptr_t)l->l_name, 4096);
	return r == 0 ? take_bytes(s, (uintptr_t)l->l_ld, MEMORY_PAGE) : r;
}

/* What "info sharedlibrary" follows: DT_DEBUG, r_debug, and the list of link maps. */
static int take_libraries(struct selection *s, json_t *notes)
{
	uint64_t dynamic, size, debug = 0, at;
	struct r_debug rendezvous;
	unsigned int n = 0;
	int r;

	if (!find_dynamic(s, &dynamic, &size))
		return 0;
	r = take_bytes(s, dynamic, size);
	for (uint64_t i = 0; r == 0 && !debug && i + sizeof(Elf64_Dyn) <= size;
		i += sizeof(Elf64_Dyn)) {
		Elf64_Dyn d;

		if (!read_object(s, dynamic + i, &d, sizeof(d)) || d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_DEBUG)
			debug = d.d_un.d_ptr;
	}
	if (r < 0 || !debug || !read_object(s, debug, &rendezvous, sizeof(rendezvous)))
		return r;
	r = take_bytes(s, debug, sizeof(rendezvous));
	at = (uintptr_t)rendezvous.r_map;
	for (; r == 0 && at && n < LINK_MAPS_MAX; n++) {
		struct link_map l;

		if (!read_object(s, at, &l, sizeof(l)))
			break;
		r = take_link_map(s, &l, at);
		at = (uintptr_t)l.l_next;
	}
	if (r == 0 && n == LINK_MAPS_MAX)
		r = report_note(notes, "mini: list of libraries cut at %u", n);
	return r;
}

static bool same_file(const struct mapping *a, const struct mapping *b)
{
	return a->inode == b->inode && a->major == b->major && a->minor == b->minor;
}

static bool is_libc(const struct mapping *m)
{
	const char *base = strrchr(m->name, '/');

	return base && strcmp(base, "/libc.so.6") == 0;
}

/* The data of the loader and of libc: the r_debug of the former, and what libthread_db reads in
 * both. */
static int take_runtime(struct selection *s)
{
	const struct maps *maps = s->req->maps;
	const struct mapping *loader = maps_find(maps, find_auxv(s->req->notes, AT_BASE));
	int r = 0;

	for (size_t i = 0; r == 0 && i < maps->n; i++) {
		const struct mapping *m = &maps->v[i];

		if (m->anonymous && (is_libc(m) || (loader && same_file(m, loader))))
			r = take_bytes(s, m->start, RUNTIME_DATA_MAX);
	}
	return r;
}

static int take_headers(struct selection *s, const bool *elf)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->req->maps->n; i++)
		if (elf[i])
			r = take_bytes(s, s->req->maps->v[i].start, MEMORY_PAGE);
	return r;
}

static int report_bounds(const struct selection *s, json_t *notes)
{
	int r = 0;

	if (s->cut_stacks)
		r = report_note(notes, "mini: stacks of %zu threads cut at %lu bytes",
			s->cut_stacks, STACK_MAX);
	if (r == 0 && s->dropped)
		r = report_note(notes, "mini: %" PRIu64 " pointers not followed, after %lu pages",
			s->dropped, POINTED_PAGES);
	return r;
}

int mini_select(const struct core_request *req, const bool *elf, struct ranges *out, json_t *notes)
{
	_cleanup_free_ uint64_t *slots = calloc(4 * POINTED_PAGES, sizeof(*slots));
	_cleanup_free_ char *stack = malloc(SEARCHED_MAX);
	struct selection s = {.req = req, .ranges = out, .pointed.slots = slots, .stack = stack};
	int r;

	if (!slots || !stack)
		return -ENOMEM;
	r = take_headers(&s, elf);
	if (r == 0)
		r = take_libraries(&s, notes);
	if (r == 0)
		r = take_runtime(&s);
	if (r == 0)
		r = take_threads(&s);
	if (r == 0)
		r = report_bounds(&s, notes);
	ranges_settle(out);
	return r;
}
