/* SPDX-License-Identifier: MIT */
#include "capture/notes.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define NOTES_SIZE_MAX (1UL << 30)

static size_t padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

/* Reads the note at *AT and moves *AT behind it. */
static int parse_note(const char *bytes, size_t size, size_t *at, struct note *out)
{
	size_t left = size - *at, name_size, desc_size;
	Elf64_Nhdr header;

	if (left < sizeof(header))
		return -EINVAL;
	memcpy(&header, bytes + *at, sizeof(header));
	left -= sizeof(header);
	name_size = padded(header.n_namesz);
	if (header.n_namesz == 0 || name_size > left)
		return -EINVAL;
	left -= name_size;
	/* The last note may lack its padding. */
	if (header.n_descsz > left)
		return -EINVAL;
	desc_size = padded(header.n_descsz) < left ? padded(header.n_descsz) : left;
	*out = (struct note){
		.name = bytes + *at + sizeof(header),
		.type = header.n_type,
		.size = header.n_descsz,
		.desc = bytes + *at + sizeof(header) + name_size,
	};
	if (out->name[header.n_namesz - 1] != '\0')
		return -EINVAL;
	*at += sizeof(header) + name_size + desc_size;
	return 0;
}

static bool is_core_note(const struct note *n, uint32_t type)
{
	return n->type == type && strcmp(n->name, "CORE") == 0;
}

int notes_parse(void *bytes, size_t size, struct notes *out)
{
	_cleanup_free_ struct note *v = NULL;
	size_t n = 0, room = 0, threads = 0;

	for (size_t at = 0; at < size;) {
		int r;

		if (n == room) {
			size_t want = room ? room * 2 : 32;
			struct note *bigger = reallocarray(v, want, sizeof(*v));

			if (!bigger)
				return -ENOMEM;
			v = bigger;
			room = want;
		}
		r = parse_note(bytes, size, &at, &v[n]);
		if (r < 0)
			return r;
		threads += is_core_note(&v[n], NT_PRSTATUS);
		n++;
	}
	*out = (struct notes){
		.v = TAKE_PTR(v), .n = n, .bytes = bytes, .size = size, .threads = threads};
	return 0;
}

void notes_free(struct notes *n)
{
	free(n->v);
	free(n->bytes);
	*n = (struct notes){0};
}

static int skip(int fd, size_t len)
{
	char buf[16384];

	while (len) {
		size_t want = len < sizeof(buf) ? len : sizeof(buf);
		int r = io_read_exact(fd, buf, want);

		if (r < 0)
			return r;
		len -= want;
	}
	return 0;
}

static bool is_core(const Elf64_Ehdr *e)
{
	return memcmp(e->e_ident, ELFMAG, SELFMAG) == 0 && e->e_ident[EI_CLASS] == ELFCLASS64 &&
	       e->e_type == ET_CORE && e->e_phoff >= sizeof(*e) &&
	       e->e_phentsize == sizeof(Elf64_Phdr);
}

int notes_read_pipe(int fd, struct notes *out)
{
	_cleanup_free_ char *bytes = NULL;
	Elf64_Ehdr header;
	Elf64_Phdr first;
	size_t at;
	int r;

	r = io_read_exact(fd, &header, sizeof(header));
	if (r < 0)
		return r == -ENODATA ? -EINVAL : r;
	/* The kernel's program headers follow at once; a table elsewhere would mean reading past
	 * the notes. */
	if (!is_core(&header) || header.e_phoff > 4096)
		return -EINVAL;
	r = skip(fd, header.e_phoff - sizeof(header));
	if (r == 0)
		r = io_read_exact(fd, &first, sizeof(first));
	if (r < 0)
		return r == -ENODATA ? -EINVAL : r;
	at = header.e_phoff + sizeof(first);
	if (first.p_type != PT_NOTE || first.p_offset < at)
		return -EINVAL;
	if (first.p_offset > NOTES_SIZE_MAX || first.p_filesz > NOTES_SIZE_MAX)
		return -E2BIG;
	r = skip(fd, first.p_offset - at);
	if (r < 0)
		return r == -ENODATA ? -EINVAL : r;
	bytes = malloc(first.p_filesz + 1);
	if (!bytes)
		return -ENOMEM;
	r = io_read_exact(fd, bytes, first.p_filesz);
	if (r < 0)
		return r == -ENODATA ? -EINVAL : r;
	r = notes_parse(bytes, first.p_filesz, out);
	if (r == 0)
		(void)TAKE_PTR(bytes);
	return r;
}

int notes_registers(const struct notes *n, struct thread_registers **out)
{
	_cleanup_free_ struct thread_registers *v = calloc(n->threads ? n->threads : 1, sizeof(*v));
	struct elf_prstatus status;
	size_t found = 0;

	_Static_assert(sizeof(status.pr_reg) == sizeof(v->regs), "one layout of registers");
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n->n && found < n->threads; i++) {
		if (!is_core_note(&n->v[i], NT_PRSTATUS))
			continue;
		/* Any other size is another machine's: a 32-bit task. */
		if (n->v[i].size != sizeof(status))
			return -EINVAL;
		memcpy(&status, n->v[i].desc, sizeof(status));
		v[found].tid = status.pr_pid;
		memcpy(&v[found].regs, &status.pr_reg, sizeof(v->regs));
		found++;
	}
	*out = TAKE_PTR(v);
	return 0;
}

const struct note *notes_find(const struct notes *n, uint32_t type)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->v[i].type == type &&
			(strcmp(n->v[i].name, "CORE") == 0 || strcmp(n->v[i].name, "LINUX") == 0))
			return &n->v[i];
	return NULL;
}
