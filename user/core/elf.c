/* SPDX-License-Identifier: MIT */
#include "core/elf.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/core.h"
#include "lib/cleanup.h"
#include "target/memory.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#endif

static uint64_t align(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static size_t note_size(const char *name, size_t desc_size)
{
	return sizeof(Elf64_Nhdr) + align(strlen(name) + 1, 4) + align(desc_size, 4);
}

/* Writes a note at AT, into zeroed memory, and returns its end. */
static char *put_note(char *at, const char *name, uint32_t type, const void *desc, size_t desc_size)
{
	size_t name_size = strlen(name) + 1;
	Elf64_Nhdr header = {.n_namesz = (Elf64_Word)name_size,
		.n_descsz = (Elf64_Word)desc_size,
		.n_type = type};

	memcpy(at, &header, sizeof(header));
	at += sizeof(header);
	memcpy(at, name, name_size);
	at += align(name_size, 4);
	if (desc_size)
		memcpy(at, desc, desc_size);
	return at + align(desc_size, 4);
}

static uint64_t notes_size(const struct notes *notes, size_t incident_size)
{
	uint64_t size = 0;

	for (size_t i = 0; i < notes->n; i++)
		size += note_size(notes->v[i].name, notes->v[i].size);
	return size + (incident_size ? note_size(CORE_NOTE_OWNER, incident_size) : 0);
}

static void put_notes(
	char *at, const struct notes *notes, const char *incident, size_t incident_size)
{
	for (size_t i = 0; i < notes->n; i++) {
		const struct note *n = &notes->v[i];

		at = put_note(at, n->name, n->type, n->desc, n->size);
	}
	if (incident_size)
		put_note(at, CORE_NOTE_OWNER, CORE_NOTE_INCIDENT, incident, incident_size);
}

static Elf64_Phdr load_header(const struct segment *s)
{
	return (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = s->offset,
		.p_vaddr = s->start,
		.p_filesz = s->file_size,
		.p_memsz = s->end - s->start,
		.p_flags = ((s->prot & PROT_READ) ? PF_R : 0u) |
			   ((s->prot & PROT_WRITE) ? PF_W : 0u) |
			   ((s->prot & PROT_EXEC) ? PF_X : 0u),
		.p_align = MEMORY_PAGE,
	};
}

/* With 65,535 and more program headers, their count stands in the first section header (gABI,
 * PN_XNUM). */
static Elf64_Ehdr file_header(size_t headers, uint64_t sections_at)
{
	Elf64_Ehdr e = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			EV_CURRENT},
		.e_type = ET_CORE,
		.e_machine = MACHINE,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = headers < PN_XNUM ? (Elf64_Half)headers : PN_XNUM,
	};

	if (headers >= PN_XNUM) {
		e.e_shoff = sections_at;
		e.e_shentsize = sizeof(Elf64_Shdr);
		e.e_shnum = 1;
	}
	return e;
}

int elf_build_head(const struct notes *notes, const char *incident, size_t incident_size,
	struct plan *plan, struct elf_head *out, uint64_t *core_size)
{
	size_t headers = plan->n + 1;
	uint64_t sections_at = sizeof(Elf64_Ehdr) + headers * sizeof(Elf64_Phdr);
	uint64_t notes_at = sections_at + (headers < PN_XNUM ? 0 : sizeof(Elf64_Shdr));
	uint64_t note_bytes = notes_size(notes, incident_size);
	uint64_t size = align(notes_at + note_bytes, MEMORY_PAGE);
	Elf64_Ehdr e = file_header(headers, sections_at);
	Elf64_Phdr *phdrs;
	char *data;

	*core_size = plan_place(plan, size);
	if (!*core_size)
		return -EFBIG;
	data = calloc(1, size);
	if (!data)
		return -ENOMEM;
	memcpy(data, &e, sizeof(e));
	phdrs = (Elf64_Phdr *)(data + e.e_phoff);
	phdrs[0] = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = notes_at, .p_filesz = note_bytes, .p_align = 4};
	for (size_t i = 0; i < plan->n; i++)
		phdrs[i + 1] = load_header(&plan->v[i]);
	if (headers >= PN_XNUM) {
		Elf64_Shdr section = {
			.sh_type = SHT_NULL, .sh_size = 1, .sh_info = (Elf64_Word)headers};

		memcpy(data + sections_at, &section, sizeof(section));
	}
	put_notes(data + notes_at, notes, incident, incident_size);
	*out = (struct elf_head){.data = data, .size = size};
	return 0;
}

void elf_head_free(struct elf_head *h)
{
	free(h->data);
	*h = (struct elf_head){0};
}
