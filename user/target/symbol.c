/* SPDX-License-Identifier: MIT */
#include "target/symbol.h"

#include <errno.h>
#include <gelf.h>
#include <stdio.h>
#include <string.h>

#include "config/nearest.h"

struct lookup {
	Elf *elf; /* that holds the symbols */
	const char *name;
	size_t length;
	struct symbol *out;
	struct nearest nearest;
	bool chosen_at_run_time, without_size, has_symtab, too_many;
	bool suggests; /* only what is like NAME is asked for */
	bool found;    /* the function, not only parts of it */
};

bool symbol_file_offset(Elf *elf, uint64_t address, uint32_t flags, uint64_t *offset)
{
	size_t n;

	if (elf_getphdrnum(elf, &n) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(elf, (int)i, &ph) || ph.p_type != PT_LOAD ||
			(ph.p_flags & flags) != flags || address - ph.p_vaddr >= ph.p_filesz)
			continue;
		*offset = ph.p_offset + (address - ph.p_vaddr);
		return true;
	}
	return false;
}

/* The bytes of a range, which must lie in one segment of code. */
static int find_bytes(Elf *elf, struct code_range *range)
{
	uint64_t first, last;
	size_t size;
	const char *file = elf_rawfile(elf, &size);

	if (!file || !symbol_file_offset(elf, range->start, PF_X, &first) ||
		!symbol_file_offset(elf, range->start + range->size - 1, PF_X, &last) ||
		last - first != range->size - 1 || first > size || range->size > size - first)
		return -EILSEQ;
	range->bytes = (const uint8_t *)file + first;
	return 0;
}

static bool has_range(const struct symbol *s, uint64_t start)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->ranges[i].start == start)
			return true;
	return false;
}

/* ".cold", and what a second such part of it is called. */
static bool is_cold_part(const char *rest)
{
	return strncmp(rest, ".cold", 5) == 0 &&
	       strspn(rest + 5, ".0123456789") == strlen(rest + 5);
}

static void add_range(struct lookup *l, const GElf_Sym *sym, bool is_part)
{
	struct symbol *s = l->out;

	l->found |= !is_part;
	if (has_range(s, sym->st_value))
		return;
	if (s->n == SYMBOL_RANGES_MAX) {
		l->too_many = true;
		return;
	}
	s->is_part[s->n] = is_part;
	s->ranges[s->n++] = (struct code_range){.start = sym->st_value, .size = sym->st_size};
}

static void take_symbol(struct lookup *l, const char *name, const GElf_Sym *sym)
{
	int type = GELF_ST_TYPE(sym->st_info);
	const char *rest;

	if (sym->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC))
		return;
	if (l->suggests) {
		nearest_consider(&l->nearest, name);
		return;
	}
	if (strncmp(name, l->name, l->length) != 0)
		return;
	rest = name + l->length;
	if (*rest && *rest != '@' && !is_cold_part(rest))
		return;
	if (type == STT_GNU_IFUNC)
		l->chosen_at_run_time = true;
	else if (!sym->st_size)
		l->without_size = true;
	else
		add_range(l, sym, *rest == '.');
}

static void take_table(struct lookup *l, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && sh->sh_entsize ? sh->sh_size / sh->sh_entsize : 0;

	for (size_t i = 0; i < n; i++) {
		GElf_Sym sym;
		const char *name;

		if (!gelf_getsym(data, (int)i, &sym))
			return;
		name = elf_strptr(l->elf, sh->sh_link, sym.st_name);
		if (name && *name)
			take_symbol(l, name, &sym);
	}
}

static void take_tables(struct lookup *l, Elf *elf, GElf_Word type)
{
	Elf_Scn *scn = NULL;

	l->elf = elf;
	while ((scn = elf_nextscn(elf, scn)) != NULL) {
		GElf_Shdr sh;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != type)
			continue;
		l->has_symtab |= type == SHT_SYMTAB;
		take_table(l, scn, &sh);
	}
}

static int tell_missing(struct lookup *l, Elf *elf, Elf *debug)
{
	if (l->chosen_at_run_time)
		return -EOPNOTSUPP;
	if (l->without_size)
		return -ERANGE;
	l->suggests = true;
	take_tables(l, debug ? debug : elf, SHT_SYMTAB);
	take_tables(l, elf, SHT_DYNSYM);
	if (l->nearest.best)
		snprintf(l->out->near, sizeof(l->out->near), "%s", l->nearest.best);
	return l->has_symtab ? -ENOENT : -ENODATA;
}

int symbol_find(Elf *elf, Elf *debug, const char *name, struct symbol *out)
{
	struct lookup l = {
		.name = name, .length = strlen(name), .out = out, .nearest = nearest_begin(name)};

	*out = (struct symbol){};
	take_tables(&l, debug ? debug : elf, SHT_SYMTAB);
	if (!l.found)
		take_tables(&l, elf, SHT_DYNSYM);
	if (!l.found)
		return tell_missing(&l, elf, debug);
	if (l.chosen_at_run_time) /* another version of the name may be a plain function */
		return -EOPNOTSUPP;
	if (l.too_many)
		return -E2BIG;
	for (size_t i = 0; i < out->n; i++) {
		int r = find_bytes(elf, &out->ranges[i]);

		if (r < 0)
			return r;
	}
	return 0;
}
