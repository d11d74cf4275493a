/* SPDX-License-Identifier: MIT */
#include "core/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "target/memory.h"

/* The kernel names its own mappings; a process cannot choose a name in brackets that does not begin
 * with "anon". */
static bool is_kernel_code(const struct mapping *m)
{
	return !mapping_has_file(m) &&
	       (strcmp(m->name, "[vdso]") == 0 || strcmp(m->name, "[vsyscall]") == 0);
}

static bool is_kernel_data(const struct mapping *m)
{
	return !mapping_has_file(m) &&
	       (strncmp(m->name, "[vvar", 5) == 0 || strcmp(m->name, "[uprobes]") == 0);
}

static enum plan_reason filtered(unsigned int filter, unsigned int bit)
{
	return (filter & bit) ? PLAN_TAKEN : PLAN_FILTER;
}

/* vma_dump_size() of fs/coredump.c, in the same order. DAX cannot be told from here; its mappings
 * go as files. */
enum plan_reason plan_whole(const struct mapping *m, unsigned int filter)
{
	bool shared = m->flags & MAPPING_SHARED;

	if (is_kernel_code(m))
		return PLAN_TAKEN;
	if (is_kernel_data(m))
		return PLAN_NOTHING;
	if (m->flags & MAPPING_SECRET)
		return PLAN_SECRET;
	if (m->flags & MAPPING_DONTDUMP)
		return PLAN_DONTDUMP;
	if (m->flags & MAPPING_HUGETLB)
		return filtered(filter, shared ? FILTER_HUGETLB_SHARED : FILTER_HUGETLB_PRIVATE);
	if (m->flags & MAPPING_IO)
		return PLAN_DEVICE;
	/* The kernel calls shared memory anonymous when its file has no name left: memfd, SysV,
	 * MAP_ANONYMOUS. */
	if (shared)
		return filtered(filter, m->deleted ? FILTER_ANONYMOUS_SHARED : FILTER_FILE_SHARED);
	if (m->anonymous && (filter & FILTER_ANONYMOUS_PRIVATE))
		return PLAN_TAKEN;
	if (!mapping_has_file(m))
		return m->anonymous ? PLAN_FILTER : PLAN_NOTHING;
	if (filter & FILTER_FILE_PRIVATE)
		return PLAN_TAKEN;
	if (m->anonymous)
		return PLAN_FILTER;
	return m->deleted ? PLAN_UNLINKED : PLAN_IN_FILE;
}

bool plan_may_need_header(const struct mapping *m, unsigned int filter)
{
	enum plan_reason reason = plan_whole(m, filter);

	if (reason == PLAN_FILTER && (m->flags & (MAPPING_SHARED | MAPPING_HUGETLB)))
		return false;
	if (reason != PLAN_FILTER && reason != PLAN_IN_FILE && reason != PLAN_UNLINKED &&
		reason != PLAN_TAKEN)
		return false;
	return mapping_has_file(m) && m->offset == 0 && !(m->flags & MAPPING_SHARED) &&
	       (m->prot & PROT_READ) && (filter & FILTER_ELF_HEADERS);
}

/* Of what a full core takes, a heap core takes what the process wrote and can write, with the parts
 * of its ELF files that the loader wrote to and then protected (RELRO): there are the libraries'
 * dynamic sections. */
static bool in_heap(const struct mapping *m)
{
	if (is_kernel_code(m))
		return true;
	return !(m->flags & MAPPING_SHARED) &&
	       ((m->prot & PROT_WRITE) || (mapping_has_file(m) && m->anonymous));
}

static int add_segment(struct plan *p, const struct mapping *m, struct range r, uint64_t file_size)
{
	if (p->n == p->room) {
		size_t want = p->room ? p->room * 2 : 64;
		struct segment *v = reallocarray(p->v, want, sizeof(*v));

		if (!v)
			return -ENOMEM;
		p->v = v;
		p->room = want;
	}
	p->v[p->n++] = (struct segment){
		.start = r.start,
		.end = r.end,
		.file_size = file_size,
		.prot = m->prot,
		/* An untouched page of a mapped file is the file's, not zero. */
		.untouched_is_zero = !is_kernel_code(m) &&
				     (!mapping_has_file(m) || (m->flags & MAPPING_HUGETLB) ||
					     ((m->flags & MAPPING_SHARED) && m->deleted)),
		.optional = is_kernel_code(m),
		.shared = (m->flags & MAPPING_SHARED) ? m : NULL,
	};
	p->memory_size += file_size;
	return 0;
}

static void leave_out(struct plan *p, enum plan_reason reason, uint64_t bytes)
{
	if (!bytes)
		return;
	p->left_out[reason].bytes += bytes;
	p->left_out[reason].mappings++;
}

/* Cuts M into wanted and other segments. *NEXT is the first wanted range that may reach into M. */
static int add_pieces(
	struct plan *p, const struct mapping *m, const struct ranges *wanted, size_t *next)
{
	uint64_t at = m->start, left = 0;
	int r;

	while (*next < wanted->n && wanted->v[*next].end <= m->start)
		(*next)++;
	for (size_t i = *next; i < wanted->n && wanted->v[i].start < m->end; i++) {
		struct range w = wanted->v[i];

		if (w.start < m->start)
			w.start = m->start;
		if (w.end > m->end)
			w.end = m->end;
		if (at < w.start) {
			r = add_segment(p, m, (struct range){at, w.start}, 0);
			if (r < 0)
				return r;
			left += w.start - at;
		}
		r = add_segment(p, m, w, w.end - w.start);
		if (r < 0)
			return r;
		at = w.end;
	}
	leave_out(p, PLAN_KIND, left + (m->end - at));
	return at < m->end ? add_segment(p, m, (struct range){at, m->end}, 0) : 0;
}

int plan_build(const struct plan_input *in, struct plan *out)
{
	_cleanup_plan_ struct plan p = {0};
	size_t next = 0;

	for (size_t i = 0; i < in->maps->n; i++) {
		const struct mapping *m = &in->maps->v[i];
		enum plan_reason reason = plan_whole(m, in->filter);
		uint64_t size = 0, whole = m->end - m->start;
		bool header = in->elf[i] && plan_may_need_header(m, in->filter);
		int r;

		if (reason == PLAN_TAKEN && !is_kernel_code(m) && in->kind == CORE_MINI) {
			r = add_pieces(&p, m, in->wanted, &next);
			if (r < 0)
				return r;
			continue;
		}
		if (reason == PLAN_TAKEN && in->kind == CORE_HEAP && !in_heap(m))
			reason = PLAN_KIND;
		if (reason == PLAN_TAKEN)
			size = whole;
		else if (header)
			size = MEMORY_PAGE;
		r = add_segment(&p, m, (struct range){m->start, m->end}, size);
		if (r < 0)
			return r;
		leave_out(&p, reason, whole - size);
	}
	*out = p;
	p = (struct plan){0};
	return 0;
}

int plan_cut(struct plan *p, size_t i, uint64_t address)
{
	struct segment *v = p->v;

	if (p->n == p->room) {
		v = reallocarray(v, p->room + 1, sizeof(*v));
		if (!v)
			return -ENOMEM;
		p->v = v;
		p->room++;
	}
	memmove(&v[i + 1], &v[i], (p->n - i) * sizeof(*v));
	p->n++;
	v[i].end = v[i + 1].start = address;
	v[i].file_size = v[i].end - v[i].start;
	v[i + 1].file_size = v[i + 1].end - address;
	return 0;
}

uint64_t plan_place(struct plan *p, uint64_t first)
{
	for (size_t i = 0; i < p->n; i++) {
		struct segment *s = plan_in_file(p, i);

		s->offset = first;
		if (__builtin_add_overflow(first, s->file_size, &first) || first > INT64_MAX)
			return 0;
	}
	return first;
}

const char *plan_reason_text(enum plan_reason reason)
{
	static const char *const texts[PLAN_REASONS] = {
		[PLAN_UNLINKED] = "unmodified pages of unlinked files",
		[PLAN_DONTDUMP] = "MADV_DONTDUMP",
		[PLAN_SECRET] = "memfd_secret",
		[PLAN_DEVICE] = "device memory",
		[PLAN_FILTER] = "coredump_filter",
		[PLAN_VAST] = "never touched, 32 GiB or more in a row",
	};

	return texts[reason];
}

void plan_free(struct plan *p)
{
	free(p->v);
	free(p->order);
	*p = (struct plan){0};
}
