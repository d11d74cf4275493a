/* SPDX-License-Identifier: MIT */
#include "target/places_child.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/sandbox.h"
#include "target/symbol.h"

#define MEMORY_LIMIT   (4ULL << 30) /* mapped files count too */
#define CPU_LIMIT      5
#define SDT_PLACES_MAX 64
#define DEBUG_ROOT     "/usr/lib/debug/.build-id" /* "/" of this process */
#define BUILD_ID_MAX   32

__attribute__((format(printf, 3, 4))) static int refuse(
	struct places *p, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(p->why, sizeof(p->why), format, args);
	va_end(args);
	return error;
}

static size_t read_build_id(Elf *elf, unsigned char id[BUILD_ID_MAX])
{
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(elf, scn)) != NULL) {
		GElf_Shdr sh;
		Elf_Data *data;
		GElf_Nhdr nh;
		size_t at = 0, name, desc;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_NOTE)
			continue;
		data = elf_getdata(scn, NULL);
		while (data && (at = gelf_getnote(data, at, &nh, &name, &desc)) > 0) {
			const char *bytes = data->d_buf;

			if (nh.n_type != NT_GNU_BUILD_ID || nh.n_descsz > BUILD_ID_MAX ||
				nh.n_namesz != sizeof("GNU") ||
				memcmp(bytes + name, "GNU", sizeof("GNU")) != 0)
				continue;
			memcpy(id, bytes + desc, nh.n_descsz);
			return nh.n_descsz;
		}
	}
	return 0;
}

/* The separate file that a distribution has of a stripped one; NULL: none. */
static Elf *open_debug(Elf *elf)
{
	unsigned char id[BUILD_ID_MAX];
	char path[2 * BUILD_ID_MAX + sizeof("//.debug")];
	size_t n = read_build_id(elf, id);
	int used, fd;

	if (n < 2)
		return NULL;
	used = sprintf(path, "/%02x/", id[0]);
	for (size_t i = 1; i < n; i++)
		used += sprintf(path + used, "%02x", id[i]);
	snprintf(path + used, sizeof(path) - (size_t)used, ".debug");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? NULL : elf_begin(fd, ELF_C_READ_MMAP, NULL);
}

static bool has_symtab(Elf *elf)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	while ((scn = elf_nextscn(elf, scn)) != NULL)
		if (gelf_getshdr(scn, &sh) && sh.sh_type == SHT_SYMTAB)
			return true;
	return false;
}

static int tell_symbol(struct places *p, const struct symbol *s, int r, const char *name)
{
	switch (r) {
	case -ENOENT:
		return refuse(p, r, "has no function %s%s%s%s", name, s->near[0] ? " (it has " : "",
			s->near, s->near[0] ? ")" : "");
	case -ENODATA:
		return refuse(p, r, "is stripped, and exports no function %s%s%s%s", name,
			s->near[0] ? " (it exports " : "", s->near, s->near[0] ? ")" : "");
	case -EOPNOTSUPP:
		return refuse(p, r,
			"has several functions behind %s, one of which is chosen at run "
			"time",
			name);
	case -ERANGE:
		return refuse(p, r, "does not say where %s ends", name);
	case -E2BIG:
		return refuse(p, r, "has too many functions %s", name);
	default:
		return refuse(p, r, "cannot be read");
	}
}

static int tell_code(struct places *p, int r, const char *name)
{
	if (r == 0)
		return refuse(p, -ERANGE, "has a function %s that never returns", name);
	if (r == -E2BIG)
		return refuse(p, r, "has a function %s that returns in too many places", name);
	return refuse(p, r, "has a function %s whose code cannot be read", name);
}

static int add(struct places *p, Elf *elf, uint64_t address, struct place place)
{
	if (p->n == PLACES_MAX || !symbol_file_offset(elf, address, PF_X, &place.offset))
		return refuse(p, -EILSEQ, "cannot be read");
	p->v[p->n++] = place;
	return 0;
}

/* "ret" or "jmp" is all there is of it. */
static bool is_left_at_once(const struct symbol *s, const struct code_exit *exits, int n)
{
	for (size_t i = 0; i < s->n; i++)
		for (int k = 0; k < n; k++)
			if (!s->is_part[i] && exits[k].address == s->ranges[i].start)
				return true;
	return false;
}

static int find_function(Elf *elf, const char *name, struct places *p)
{
	Elf *debug = has_symtab(elf) ? NULL : open_debug(elf);
	struct code_exit *exits = calloc(CODE_EXITS_MAX, sizeof(*exits));
	struct symbol s;
	int r = symbol_find(elf, debug, name, &s), n;

	if (r < 0)
		return tell_symbol(p, &s, r, name);
	n = exits ? code_find_exits(s.ranges, s.n, exits) : -ENOMEM;
	if (n <= 0)
		return tell_code(p, n, name);
	if (is_left_at_once(&s, exits, n))
		return refuse(p, -ERANGE, "has a function %s that is left where it begins", name);
	for (size_t i = 0; r == 0 && i < s.n; i++)
		if (!s.is_part[i])
			r = add(p, elf, s.ranges[i].start, (struct place){.kind = PLACE_ENTRY});
	for (int i = 0; r == 0 && i < n; i++)
		r = add(p, elf, exits[i].address,
			(struct place){.kind = exits[i].conditional ? PLACE_BRANCH : PLACE_EXIT,
				.condition = exits[i].condition});
	return r;
}

static int find_probe(
	Elf *elf, const struct places_wish *w, const char *name, uint8_t kind, struct places *p)
{
	struct sdt_place places[SDT_PLACES_MAX];
	int n = sdt_find(elf, w->provider, name, w->argument, places, SDT_PLACES_MAX), r = 0;

	if (n == -ENOENT)
		return refuse(p, n, "has no static probe %s:%s", w->provider, name);
	if (n == -EOPNOTSUPP)
		return refuse(p, n, "has a static probe %s:%s whose argument %u cannot be read",
			w->provider, name, w->argument);
	if (n < 0)
		return refuse(p, n, "has %s:%s in too many places", w->provider, name);
	for (int i = 0; r == 0 && i < n; i++) {
		struct place place = {.kind = kind, .argument = places[i].argument};

		if (places[i].semaphore &&
			!symbol_file_offset(elf, places[i].semaphore, 0, &place.semaphore))
			return refuse(p, -EILSEQ, "cannot be read");
		r = add(p, elf, places[i].address, place);
	}
	return r;
}

static int find(const struct places_wish *w, struct places *p)
{
	Elf *elf;
	GElf_Ehdr ehdr;
	int r;

	elf_version(EV_CURRENT);
	elf = elf_begin(w->fd, ELF_C_READ_MMAP, NULL);
	if (!elf || !gelf_getehdr(elf, &ehdr) || ehdr.e_machine != EM_X86_64 ||
		gelf_getclass(elf) != ELFCLASS64)
		return refuse(p, -ENOEXEC, "is no 64-bit program for this machine");
	if (!w->provider)
		return find_function(elf, w->name, p);
	r = find_probe(elf, w, w->name, PLACE_BEGIN, p);
	return r < 0 ? r : find_probe(elf, w, w->end, PLACE_END, p);
}

noreturn void places_child_run(const struct places_wish *wish, int replyfd)
{
	struct places *p = calloc(1, sizeof(*p));
	const struct sandbox cage = {
		.keep = &wish->fd,
		.keep_count = 1,
		.replyfd = replyfd,
		.memory_max = MEMORY_LIMIT,
		.cpu_max = CPU_LIMIT,
		.root = DEBUG_ROOT,
	};

	/* Nothing is freed: the process ends here. */
	if (!p || sandbox_enter(&cage) < 0)
		_exit(1);
	p->error = find(wish, p);
	if (p->error < 0)
		p->n = 0;
	_exit(io_write_all(replyfd, p, sizeof(*p)) < 0);
}
