/* SPDX-License-Identifier: MIT */
/* Memory whose treatment a core shows: names of areas with their addresses on stdout, then a crash.
 * memory [noreserve GIB] [resident MIB] */
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "target.h"

#define PAGE 4096

static char *area(size_t size, int flags)
{
	char *p = mmap(
		NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static void fill(char *p, size_t size, const char *word)
{
	for (size_t i = 0; i + 16 <= size; i += 16)
		snprintf(p + i, 16, "%-15.15s", word);
}

/* Data, a PROT_NONE page that was written before, a guard page, data: the pages around must not
 * suffer. */
static void guarded(void)
{
	char *p = area(256 * PAGE, 0);

	fill(p, 256 * PAGE, "AROUND-GUARD");
	if (mprotect(p + 100 * PAGE, PAGE, PROT_NONE) || munmap(p + 200 * PAGE, PAGE))
		err(1, "guard");
	/* A page that exists and can be read by nobody: memory behind the end of a file. */
	if (mmap(p + 200 * PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		MAP_FAILED)
		err(1, "guard");
	dprintf(STDOUT_FILENO, "guarded %#lx\n", (unsigned long)p);
}

static void secret(void)
{
	char *p = area(16 * PAGE, 0);

	/* Spelled backwards here, so that the program's own text does not hold it. */
	const char backwards[] = "PMUD-TON-OD-LES";
	char word[16];

	for (size_t i = 0; i < 15; i++)
		word[i] = backwards[14 - i];
	word[15] = 0;
	fill(p, 16 * PAGE, word);
	explicit_bzero(word, sizeof(word));
	if (madvise(p, 16 * PAGE, MADV_DONTDUMP))
		err(1, "madvise");
	dprintf(STDOUT_FILENO, "secret %#lx\n", (unsigned long)p);
}

static void shared(void)
{
	char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	fill(p, 16 * PAGE, "SHARED-MEMORY");
	dprintf(STDOUT_FILENO, "shared %#lx\n", (unsigned long)p);
}

/* Not compressible, so that the size of a core follows from it. */
static void resident(size_t mib)
{
	char *p = area(mib << 20, 0);
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < mib << 20; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		*(uint64_t *)(p + i) = x;
	}
	dprintf(STDOUT_FILENO, "resident %#lx\n", (unsigned long)p);
}

static noinline void crashes_with_memory(void)
{
	*(volatile int *)0 = 1;
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	guarded();
	secret();
	shared();
	for (int i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], "resident") == 0)
			resident((size_t)atol(argv[i + 1]));
		if (strcmp(argv[i], "noreserve") == 0)
			dprintf(STDOUT_FILENO, "noreserve %#lx\n",
				(unsigned long)area(
					(size_t)atol(argv[i + 1]) << 30, MAP_NORESERVE));
	}
	target_ready(&argc, &argv);
	crashes_with_memory();
	return 0;
}
