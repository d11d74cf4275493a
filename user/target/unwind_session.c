/* SPDX-License-Identifier: MIT */
#include "target/unwind_session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "target/unwind_reply.h"

#define PAGE   4096u
#define PLACES 1024u /* a power of two */

struct unwind_page {
	uint64_t address;
	size_t size;
	unsigned char bytes[PAGE];
};

/* Only the vDSO, which has no file, is asked for here. */
static int find_elf(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base,
	char **file_name, Elf **elf)
{
	struct unwind_session *s = *userdata;

	(void)mod;
	(void)name;
	(void)base;
	*file_name = NULL;
	if (s) {
		*elf = s->vdso;
		s->vdso = NULL;
	}
	return -1;
}

/* Asked for where a stripped file has no .symtab. The name is made of the build ID alone, and leads
 * nowhere but into UNWIND_DEBUG_ROOT, which belongs to the host: a process in a container has the
 * same build IDs or none. */
static int find_debuginfo(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base,
	const char *file_name, const char *link, GElf_Word crc, char **out)
{
	char path[2 * UNWIND_BUILD_ID_MAX + sizeof("//.debug")];
	const unsigned char *id;
	GElf_Addr address;
	int n = dwfl_module_build_id(mod, &id, &address), used;

	(void)userdata, (void)name, (void)base, (void)file_name, (void)link, (void)crc;
	*out = NULL;
	if (n < 2 || (unsigned int)n > UNWIND_BUILD_ID_MAX)
		return -1;
	used = sprintf(path, "/%02x/", id[0]);
	for (int i = 1; i < n; i++)
		used += sprintf(path + used, "%02x", id[i]);
	snprintf(path + used, sizeof(path) - (size_t)used, ".debug");
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool copied_word(const struct unwind_stack *stack, uint64_t address, uint64_t *out)
{
	uint64_t at = address - stack->start;

	if (!stack->bytes || address < stack->start || stack->size < sizeof(*out) ||
		at > stack->size - sizeof(*out))
		return false;
	memcpy(out, (const char *)stack->bytes + at, sizeof(*out));
	return true;
}

static bool load_page(struct unwind_session *s, uint64_t address)
{
	struct unwind_page *p = s->page;
	ssize_t n;

	if (p->size && p->address == address)
		return true;
	p->size = 0;
	if (s->req->memfd < 0 || s->req->stacks)
		return false;
	n = pread(s->req->memfd, p->bytes, PAGE, (off_t)address);
	if (n <= 0)
		return false;
	p->address = address;
	p->size = (size_t)n;
	return true;
}

bool unwind_session_word(struct unwind_session *s, uint64_t address, uint64_t *out)
{
	unsigned char bytes[sizeof(*out)];

	if (copied_word(&s->stack, address, out))
		return true;
	if (address > UINT64_MAX - sizeof(*out))
		return false;
	for (size_t i = 0; i < sizeof(bytes);) { /* a word may lie across two pages */
		uint64_t base = (address + i) & ~(uint64_t)(PAGE - 1);
		size_t at = (size_t)(address + i - base);
		size_t n = PAGE - at < sizeof(bytes) - i ? PAGE - at : sizeof(bytes) - i;

		if (!load_page(s, base) || at + n > s->page->size)
			return false;
		memcpy(bytes + i, s->page->bytes + at, n);
		i += n;
	}
	memcpy(out, bytes, sizeof(bytes));
	return true;
}

static bool memory_read(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *arg)
{
	uint64_t word;

	(void)dwfl;
	if (!unwind_session_word(arg, address, &word))
		return false;
	*result = word;
	return true;
}

static bool set_initial_registers(Dwfl_Thread *thread, void *arg)
{
	const struct unwind_session *s = arg;

	return dwfl_thread_state_registers(thread, 0, UNWIND_REGISTERS, s->registers);
}

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
	(void)dwfl, (void)arg, (void)thread_arg;
	return 0; /* threads are asked for one at a time */
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
	(void)dwfl, (void)tid;
	*thread_arg = arg;
	return true;
}

static const Dwfl_Callbacks module_callbacks = {
	.find_elf = find_elf,
	.find_debuginfo = find_debuginfo,
};

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = memory_read,
	.set_initial_registers = set_initial_registers,
};

/* The load bias that puts the executable segment which M maps at M's address. */
static bool find_bias(Elf *elf, const struct mapping *m, GElf_Addr *bias)
{
	GElf_Ehdr ehdr;
	size_t n;

	if (!gelf_getehdr(elf, &ehdr) || ehdr.e_machine != EM_X86_64 || elf_getphdrnum(elf, &n) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr ph;
		uint64_t start;

		if (!gelf_getphdr(elf, (int)i, &ph) || ph.p_type != PT_LOAD || !(ph.p_flags & PF_X))
			continue;
		start = ph.p_offset & ~(uint64_t)(PAGE - 1);
		if (m->offset < start || m->offset - start >= ph.p_filesz + (ph.p_offset - start))
			continue;
		*bias = m->start - m->offset + ph.p_offset - ph.p_vaddr;
		return ehdr.e_type == ET_DYN || *bias == 0;
	}
	return false;
}

/* Reports one mapping; a second one of the same segment falls into the module that is there. */
static void report_load(struct unwind_session *s, const struct unwind_load *load)
{
	const struct unwind_file *file = &s->modules->files[load->file];
	const struct mapping *m = load->mapping;
	GElf_Addr bias = 0;
	Dwfl_Module *mod;
	bool found;
	Elf *elf;
	int fd;

	if (file->fd < 0)
		return;
	elf = elf_begin(file->fd, ELF_C_READ_MMAP_PRIVATE, NULL);
	found = elf && elf_kind(elf) == ELF_K_ELF && find_bias(elf, m, &bias);
	elf_end(elf);
	if (!found)
		return;
	fd = dup(file->fd); /* libdwfl closes it */
	if (fd < 0)
		return;
	mod = dwfl_report_elf(s->dwfl, m->name, m->name, fd, bias, true);
	if (!mod)
		close(fd);
}

static void report_vdso(struct unwind_session *s)
{
	const struct unwind_modules *m = s->modules;
	Dwfl_Module *mod;
	void **userdata;

	if (!m->vdso)
		return;
	s->vdso = elf_memory(m->vdso, m->vdso_size);
	if (!s->vdso || elf_kind(s->vdso) != ELF_K_ELF)
		return;
	mod = dwfl_report_module(s->dwfl, "[vdso]", m->vdso_start, m->vdso_start + m->vdso_size);
	if (mod && dwfl_module_info(mod, &userdata, NULL, NULL, NULL, NULL, NULL, NULL))
		*userdata = s;
}

/* A bare ELF header: enough to name the machine. */
static Elf *machine(void)
{
	static const Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			EV_CURRENT},
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_ehsize = sizeof(header),
	};

	return elf_memory((char *)&header, sizeof(header));
}

int unwind_session_open(const struct unwind_request *req, const struct unwind_modules *modules,
	struct unwind_session *s)
{
	elf_version(EV_CURRENT);
	*s = (struct unwind_session){.req = req,
		.modules = modules,
		.stack = {req->stack_start, req->stack, req->stack_size}};
	s->page = calloc(1, sizeof(*s->page));
	s->places = calloc(PLACES, sizeof(*s->places));
	s->arch = machine();
	s->dwfl = dwfl_begin(&module_callbacks);
	if (!s->page || !s->places || !s->arch || !s->dwfl)
		return -ENOMEM;
	dwfl_report_begin(s->dwfl);
	for (size_t i = 0; i < modules->load_count; i++) {
		const struct unwind_load *l = &modules->loads[i], *before = l - 1;

		/* mprotect cuts a segment in pieces: one report does. */
		if (i && before->file == l->file &&
			before->mapping->start - before->mapping->offset ==
				l->mapping->start - l->mapping->offset)
			continue;
		report_load(s, l);
	}
	report_vdso(s);
	if (dwfl_report_end(s->dwfl, NULL, NULL) != 0)
		return -EINVAL;
	return dwfl_attach_state(s->dwfl, s->arch, 1, &thread_callbacks, s) ? 0 : -EINVAL;
}

void unwind_session_close(struct unwind_session *s)
{
	if (s->dwfl)
		dwfl_end(s->dwfl);
	elf_end(s->vdso);
	elf_end(s->arch);
	free(s->page);
	free(s->places);
	*s = (struct unwind_session){0};
}

bool unwind_session_is_code(const struct unwind_session *s, uint64_t address)
{
	const struct mapping *m = maps_find(s->req->maps, address);

	return m && (m->prot & PROT_EXEC);
}

static void place_in_module(Dwfl_Module *mod, uint64_t pc, struct unwind_place *p)
{
	GElf_Addr bias, id_address;
	GElf_Off offset;
	GElf_Sym sym;
	int n;

	if (!dwfl_module_getelf(mod, &bias))
		return;
	p->offset = pc - bias;
	p->has_offset = true;
	n = dwfl_module_build_id(mod, &p->build_id, &id_address);
	p->build_id_size = n > 0 ? (size_t)n : 0;
	p->symbol = dwfl_module_addrinfo(mod, pc, &offset, &sym, NULL, NULL, NULL);
}

static int open_error(const struct unwind_session *s, const struct mapping *m)
{
	for (size_t i = 0; i < s->modules->load_count; i++)
		if (s->modules->loads[i].mapping == m)
			return s->modules->files[s->modules->loads[i].file].error;
	return 0;
}

const struct unwind_place *unwind_session_place(struct unwind_session *s, uint64_t pc)
{
	/* Fibonacci hashing: code addresses differ in their middle bits. */
	struct unwind_place *p = &s->places[(pc * 0x9e3779b97f4a7c15ULL) >> 54 & (PLACES - 1)];
	const struct mapping *m;
	Dwfl_Module *mod;

	if (p->pc == pc && pc)
		return p;
	*p = (struct unwind_place){.pc = pc};
	m = maps_find(s->req->maps, pc);
	if (m && m->name[0] && m->name[0] != ' ')
		p->module = m->name;
	if (m)
		p->error = open_error(s, m);
	mod = dwfl_addrmodule(s->dwfl, pc);
	if (mod)
		place_in_module(mod, pc, p);
	return p;
}
