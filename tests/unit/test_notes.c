/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "capture/notes.h"
#include "lib/cleanup.h"

struct bytes {
	char *at;
	size_t size;
};

static void add(struct bytes *b, const char *name, uint32_t type, const void *desc, size_t size)
{
	Elf64_Nhdr h = {
		.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)size, .n_type = type};
	size_t name_size = (h.n_namesz + 3u) & ~3u,
	       total = sizeof(h) + name_size + ((size + 3) & ~3UL);
	char *at;

	b->at = realloc(b->at, b->size + total);
	at = b->at + b->size;
	memset(at, 0, total);
	memcpy(at, &h, sizeof(h));
	memcpy(at + sizeof(h), name, h.n_namesz);
	if (size)
		memcpy(at + sizeof(h) + name_size, desc, size);
	b->size += total;
}

static struct bytes two_threads(void)
{
	struct elf_prstatus status = {.pr_pid = 41};
	struct user_regs_struct *regs = (struct user_regs_struct *)&status.pr_reg;
	struct bytes b = {0};

	regs->rip = 0x1111;
	add(&b, "CORE", NT_PRSTATUS, &status, sizeof(status));
	add(&b, "CORE", NT_AUXV, "0123456789abcdef", 16);
	add(&b, "other", NT_PRSTATUS, "x", 1);
	status.pr_pid = 42;
	regs->rsp = 0x2222;
	add(&b, "CORE", NT_PRSTATUS, &status, sizeof(status));
	add(&b, "LINUX", NT_X86_XSTATE, "abc", 3);
	return b;
}

Test(notes, each_thread_has_its_registers_in_order)
{
	struct bytes b = two_threads();
	_cleanup_notes_ struct notes n = {0};
	_cleanup_free_ struct thread_registers *threads = NULL;

	cr_assert_eq(notes_parse(b.at, b.size, &n), 0);
	cr_assert_eq(n.n, 5);
	cr_assert_eq(n.threads, 2, "a note of another owner is no thread");
	cr_assert_eq(notes_registers(&n, &threads), 0);
	cr_assert_eq(threads[0].tid, 41);
	cr_assert_eq(registers_ip(&threads[0]), 0x1111);
	cr_assert_eq(threads[1].tid, 42);
	cr_assert_eq(registers_sp(&threads[1]), 0x2222);
	cr_assert_eq(notes_find(&n, NT_AUXV)->size, 16);
	cr_assert_eq(notes_find(&n, NT_X86_XSTATE)->size, 3);
	cr_assert_null(notes_find(&n, NT_FILE));
}

Test(notes, what_does_not_hold_together_is_refused)
{
	struct bytes b = two_threads();

	/* Cut anywhere, it parses up to a note's end or not at all; ASan watches the reads. */
	for (size_t size = 0; size < b.size; size++) {
		_cleanup_notes_ struct notes n = {0};
		void *copy = malloc(size + 1);
		int r;

		memcpy(copy, b.at, size);
		r = notes_parse(copy, size, &n);
		cr_assert(r == 0 || r == -EINVAL);
		if (r < 0)
			free(copy);
	}
	((Elf64_Nhdr *)b.at)->n_descsz = UINT32_MAX;
	struct notes n = {0};
	cr_assert_eq(notes_parse(b.at, b.size, &n), -EINVAL);
	((Elf64_Nhdr *)b.at)->n_namesz = UINT32_MAX;
	cr_assert_eq(notes_parse(b.at, b.size, &n), -EINVAL);
	free(b.at);
}

Test(notes, registers_of_another_machine_are_refused)
{
	_cleanup_notes_ struct notes n = {0};
	struct thread_registers *threads = NULL;
	struct bytes b = {0};

	add(&b, "CORE", NT_PRSTATUS, "32 bits", 8);
	cr_assert_eq(notes_parse(b.at, b.size, &n), 0);
	cr_assert_eq(notes_registers(&n, &threads), -EINVAL);
	cr_assert_null(threads);
}

static void send_core(int fd, const struct bytes *notes, uint64_t offset, uint64_t size)
{
	Elf64_Ehdr e = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			EV_CURRENT},
		.e_type = ET_CORE,
		.e_phoff = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = PN_XNUM,
	};
	Elf64_Phdr p = {.p_type = PT_NOTE, .p_offset = offset, .p_filesz = size};
	char filler[3] = {0};

	cr_assert_eq(write(fd, &e, sizeof(e)), (ssize_t)sizeof(e));
	cr_assert_eq(write(fd, &p, sizeof(p)), (ssize_t)sizeof(p));
	cr_assert_eq(write(fd, filler, sizeof(filler)), (ssize_t)sizeof(filler));
	cr_assert_eq(write(fd, notes->at, notes->size), (ssize_t)notes->size);
	cr_assert_eq(write(fd, "memory", 6), 6);
	close(fd);
}

Test(notes, the_pipe_is_read_to_the_end_of_the_notes_and_no_further)
{
	struct bytes b = two_threads();
	_cleanup_notes_ struct notes n = {0};
	char rest[16];
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	send_core(fds[1], &b, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 3, b.size);
	cr_assert_eq(notes_read_pipe(fds[0], &n), 0);
	cr_assert_eq(n.threads, 2);
	cr_assert_eq(read(fds[0], rest, sizeof(rest)), 6, "the memory stays in the pipe");
	close(fds[0]);
	free(b.at);
}

Test(notes, what_is_no_core_or_ends_early_is_told)
{
	const size_t at = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 3;
	struct bytes b = two_threads();
	const struct {
		uint64_t offset, size;
		int expected;
	} cases[] = {
		{at, b.size + 1000, -EINVAL},
		{at, 2UL << 30, -E2BIG},
		{UINT64_MAX, b.size, -E2BIG},
		{8, b.size, -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct notes n = {0};
		int fds[2];

		cr_assert_eq(pipe(fds), 0);
		send_core(fds[1], &b, cases[i].offset, cases[i].size);
		cr_assert_eq(notes_read_pipe(fds[0], &n), cases[i].expected, "case %zu", i);
		close(fds[0]);
	}
	free(b.at);
}
