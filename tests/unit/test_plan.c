/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <elf.h>
#include <string.h>
#include <sys/mman.h>

#include "core/elf.h"
#include "core/plan.h"
#include "lib/cleanup.h"
#include "target/memory.h"

#define DEFAULT_FILTER 0x33
#define PAGE	       MEMORY_PAGE
#define RW	       (PROT_READ | PROT_WRITE)

enum {
	TEXT,
	DATA,
	HEAP,
	UNTOUCHED,
	HIDDEN,
	MEMFD,
	SHARED_FILE,
	DONTDUMP,
	SECRET,
	HUGE,
	VVAR,
	VDSO,
	MAPPINGS,
};

static struct mapping at(uint64_t page, uint64_t pages, unsigned int prot, char *name)
{
	return (struct mapping){
		.start = page * PAGE, .end = (page + pages) * PAGE, .prot = prot, .name = name};
}

/* One process with one mapping of each sort; freed by nobody, as nothing in it is allocated. */
static struct maps process(struct mapping v[MAPPINGS])
{
	v[TEXT] = at(16, 4, PROT_READ | PROT_EXEC, "/bin/x");
	v[DATA] = at(20, 4, RW, "/bin/x");
	v[HEAP] = at(32, 8, RW, "[heap]");
	v[UNTOUCHED] = at(64, 1 << 20, RW, "");
	v[HIDDEN] = at(0x200000, 2, PROT_NONE, "");
	v[MEMFD] = at(0x200010, 4, RW, "/memfd:x");
	v[SHARED_FILE] = at(0x200020, 4, RW, "/data");
	v[DONTDUMP] = at(0x200030, 4, RW, "");
	v[SECRET] = at(0x200040, 4, RW, "/secretmem");
	v[HUGE] = at(0x200200, 512, RW, "/anon_hugepage");
	v[VVAR] = at(0x300000, 4, PROT_READ, "[vvar]");
	v[VDSO] = at(0x300010, 2, PROT_READ | PROT_EXEC, "[vdso]");
	v[TEXT].inode = v[DATA].inode = v[MEMFD].inode = v[SHARED_FILE].inode = v[SECRET].inode = 7;
	v[HUGE].inode = 8;
	v[DATA].offset = 4 * PAGE;
	v[DATA].anonymous = v[HIDDEN].anonymous = v[DONTDUMP].anonymous = PAGE;
	v[HEAP].anonymous = 2 * PAGE;
	v[MEMFD].flags = v[SHARED_FILE].flags = MAPPING_SHARED;
	v[MEMFD].deleted = v[SECRET].deleted = v[HUGE].deleted = true;
	v[DONTDUMP].flags = MAPPING_DONTDUMP;
	v[SECRET].flags = MAPPING_SHARED | MAPPING_SECRET | MAPPING_DONTDUMP;
	v[HUGE].flags = MAPPING_HUGETLB;
	v[VVAR].flags = MAPPING_IO | MAPPING_DONTDUMP;
	return (struct maps){.v = v, .n = MAPPINGS};
}

static void plan_of(
	enum core_kind kind, unsigned int filter, const struct ranges *wanted, struct plan *out)
{
	static struct mapping v[MAPPINGS];
	static bool elf[MAPPINGS];
	static struct maps maps;
	struct plan_input in = {
		.maps = &maps, .elf = elf, .wanted = wanted, .kind = kind, .filter = filter};

	memset(v, 0, sizeof(v));
	maps = process(v);
	elf[TEXT] = true;
	cr_assert_eq(plan_build(&in, out), 0);
}

static uint64_t pages_in(const struct plan *p, size_t i)
{
	return p->v[i].file_size / PAGE;
}

Test(plan, a_full_core_takes_what_the_kernel_takes)
{
	static const uint64_t expected[MAPPINGS] = {[TEXT] = 1,
		[DATA] = 4,
		[HEAP] = 8,
		[HIDDEN] = 2,
		[MEMFD] = 4,
		[HUGE] = 512,
		[VDSO] = 2};
	_cleanup_plan_ struct plan p = {0};

	plan_of(CORE_FULL, DEFAULT_FILTER, NULL, &p);
	cr_assert_eq(p.n, MAPPINGS);
	for (size_t i = 0; i < p.n; i++)
		cr_assert_eq(pages_in(&p, i), expected[i], "mapping %zu", i);
	cr_assert_eq(p.memory_size, 533 * PAGE);
	cr_assert_eq(p.left_out[PLAN_DONTDUMP].bytes, 4 * PAGE);
	cr_assert_eq(p.left_out[PLAN_SECRET].bytes, 4 * PAGE);
	cr_assert_eq(p.left_out[PLAN_FILTER].bytes, 4 * PAGE);
	cr_assert_eq(p.left_out[PLAN_FILTER].mappings, 1);
	cr_assert_eq(p.left_out[PLAN_IN_FILE].bytes, 3 * PAGE);
}

Test(plan, each_bit_of_the_filter_decides_its_own_mappings)
{
	static const struct {
		unsigned int bit;
		uint64_t pages[MAPPINGS];
	} cases[] = {
		{0, {[VDSO] = 2}},
		{FILTER_ANONYMOUS_PRIVATE, {[DATA] = 4, [HEAP] = 8, [HIDDEN] = 2, [VDSO] = 2}},
		{FILTER_ANONYMOUS_SHARED, {[MEMFD] = 4, [VDSO] = 2}},
		{FILTER_FILE_PRIVATE, {[TEXT] = 4, [DATA] = 4, [VDSO] = 2}},
		{FILTER_FILE_SHARED, {[SHARED_FILE] = 4, [VDSO] = 2}},
		{FILTER_ELF_HEADERS, {[TEXT] = 1, [VDSO] = 2}},
		{FILTER_HUGETLB_PRIVATE, {[HUGE] = 512, [VDSO] = 2}},
		{FILTER_HUGETLB_SHARED, {[VDSO] = 2}},
	};

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		_cleanup_plan_ struct plan p = {0};

		plan_of(CORE_FULL, cases[c].bit, NULL, &p);
		for (size_t i = 0; i < p.n; i++)
			cr_assert_eq(
				pages_in(&p, i), cases[c].pages[i], "case %zu mapping %zu", c, i);
	}
}

Test(plan, a_heap_core_takes_what_can_be_written_and_how_to_unwind)
{
	static const uint64_t expected[MAPPINGS] = {
		[TEXT] = 1, [DATA] = 4, [HEAP] = 8, [HUGE] = 512, [VDSO] = 2};
	_cleanup_plan_ struct plan p = {0};

	plan_of(CORE_HEAP, DEFAULT_FILTER, NULL, &p);
	for (size_t i = 0; i < p.n; i++)
		cr_assert_eq(pages_in(&p, i), expected[i], "mapping %zu", i);
	cr_assert_eq(p.left_out[PLAN_KIND].bytes, 6 * PAGE);
}

Test(plan, a_mini_core_cuts_mappings_into_wanted_pages_and_keeps_the_rest_as_addresses)
{
	_cleanup_ranges_ struct ranges wanted = {0};
	_cleanup_plan_ struct plan p = {0};
	uint64_t next = 0, heap = 0;

	/* Overlapping, across the end of a mapping, and in one that must not be dumped. */
	ranges_add(&wanted, 0x200030 * PAGE, 0x200031 * PAGE);
	ranges_add(&wanted, 34 * PAGE, 36 * PAGE);
	ranges_add(&wanted, 35 * PAGE, 37 * PAGE);
	ranges_add(&wanted, 39 * PAGE, 41 * PAGE);
	ranges_settle(&wanted);
	plan_of(CORE_MINI, DEFAULT_FILTER, &wanted, &p);
	for (size_t i = 0; i < p.n; i++) {
		const struct segment *s = &p.v[i];

		cr_assert(s->start >= next && s->end > s->start);
		cr_assert(s->file_size <= s->end - s->start);
		next = s->end;
		if (s->start >= 32 * PAGE && s->end <= 40 * PAGE)
			heap += s->file_size;
		if (s->start == 0x200030 * PAGE)
			cr_assert_eq(s->file_size, 0);
	}
	cr_assert_eq(heap, 4 * PAGE);
	cr_assert_eq(p.memory_size, 7 * PAGE, "the ELF header and the vDSO too");
}

Test(plan, file_offsets_are_without_gaps_and_bounded)
{
	_cleanup_plan_ struct plan p = {0};
	uint64_t end;

	plan_of(CORE_FULL, DEFAULT_FILTER, NULL, &p);
	end = plan_place(&p, 2 * PAGE);
	cr_assert_eq(end, 2 * PAGE + p.memory_size);
	cr_assert_eq(p.v[0].offset, 2 * PAGE);
	cr_assert_eq(p.v[1].offset, 3 * PAGE);
	p.v[1].file_size = INT64_MAX;
	cr_assert_eq(plan_place(&p, 2 * PAGE), 0);
}

static void expect_order(const struct plan *p, const size_t *order, size_t n)
{
	uint64_t at = PAGE;

	cr_assert_gt(plan_place((struct plan *)p, PAGE), 0);
	for (size_t i = 0; i < n; i++) {
		const struct segment *s = &p->v[order[i]];

		cr_expect_eq(s->offset, at, "segment %zu, as number %zu", order[i], i);
		at += s->file_size;
	}
}

Test(plan, the_triggers_stack_comes_first_the_others_and_small_ones_next)
{
	const uint64_t large = 32UL << 20;
	const uint64_t sp[] = {3 * large + 5 * PAGE + 8, 2 * large + 8};
	const size_t order[] = {4, 0, 2, 3, 1, 5};
	_cleanup_plan_ struct plan p = {.v = calloc(4, sizeof(*p.v)), .n = 4, .room = 4};

	for (size_t i = 0; i < 4; i++)
		p.v[i] = (struct segment){
			.start = i * large, .end = (i + 1) * large, .file_size = large};
	p.v[0].file_size = PAGE;
	cr_assert_eq(plan_order(&p, sp, 2), 0);
	cr_assert_eq(p.n, 6, "the stack is cut out of its segment");
	cr_expect_eq(p.v[4].start, 3 * large + 4 * PAGE, "with the red zone");
	cr_expect_eq(p.v[4].file_size, 1UL << 20);
	cr_expect_eq(p.v[3].end, p.v[4].start);
	cr_expect_eq(p.v[5].start, p.v[4].end);
	cr_expect_eq(p.v[5].file_size, 4 * large - p.v[5].start);
	expect_order(&p, order, 6);
}

Test(plan, stack_pointers_may_be_anything)
{
	const uint64_t sp[] = {UINT64_MAX, 0, 1};
	const size_t order[] = {0, 1};
	_cleanup_plan_ struct plan p = {.v = calloc(2, sizeof(*p.v)), .n = 2, .room = 2};

	p.v[0] = (struct segment){.start = PAGE, .end = 2 * PAGE, .file_size = PAGE};
	p.v[1] = (struct segment){
		.start = -(64UL << 20), .end = UINT64_MAX, .file_size = (64UL << 20) - 1};
	cr_assert_eq(plan_order(&p, sp, 3), 0);
	expect_order(&p, order, 1);
}

Test(plan, more_segments_than_the_header_can_count_are_counted_in_a_section)
{
	_cleanup_free_ struct mapping *v = calloc(70000, sizeof(*v));
	_cleanup_free_ bool *elf = calloc(70000, sizeof(*elf));
	struct maps maps = {.v = v, .n = 70000};
	struct plan_input in = {.maps = &maps, .elf = elf, .filter = DEFAULT_FILTER};
	_cleanup_plan_ struct plan p = {0};
	_cleanup_elf_head_ struct elf_head head = {0};
	const struct notes none = {0};
	const Elf64_Ehdr *e;
	uint64_t size;

	for (size_t i = 0; i < maps.n; i++)
		v[i] = at(2 * i + 16, 1, PROT_READ, "");
	cr_assert_eq(plan_build(&in, &p), 0);
	cr_assert_eq(elf_build_head(&none, "{}", 2, &p, &head, &size), 0);
	e = head.data;
	cr_assert_eq(e->e_phnum, PN_XNUM);
	cr_assert_eq(e->e_shnum, 1);
	cr_assert_eq(((const Elf64_Shdr *)((const char *)head.data + e->e_shoff))->sh_info, 70001);
	cr_assert_eq(head.size % PAGE, 0);
}
