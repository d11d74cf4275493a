/* SPDX-License-Identifier: MIT */
#include "target/wait_site.h"

#include <string.h>

#include "target/wait.h"

#define AROUND	  192 /* bytes to each side: libc's functions are that short */
#define SITES_MAX 8

#if defined(__x86_64__)

/* mov $CALL,%eax; syscall */
size_t wait_sites_find(const uint8_t *code, size_t n, long call, size_t *out, size_t most)
{
	uint8_t wanted[] = {0xb8, (uint8_t)call, (uint8_t)(call >> 8), (uint8_t)(call >> 16),
		(uint8_t)(call >> 24), 0x0f, 0x05};
	size_t found = 0;

	for (size_t i = 0; i + sizeof(wanted) <= n && found < most; i++)
		if (memcmp(code + i, wanted, sizeof(wanted)) == 0)
			out[found++] = i + sizeof(wanted);
	return found;
}

#else
#error "this architecture is not supported yet"
#endif

ssize_t wait_sites_read(int procfd, pid_t tid, uint64_t pc, long call, uint64_t *out, size_t most)
{
	size_t offsets[SITES_MAX], found, added = 0;
	uint8_t code[2 * AROUND];
	int r = wait_read_memory(procfd, tid, pc - AROUND, code, sizeof(code));

	if (r < 0)
		return r;
	found = wait_sites_find(code, sizeof(code), call, offsets, SITES_MAX);
	for (size_t i = 0; i < found && added < most; i++)
		if (offsets[i] != AROUND)
			out[added++] = pc - AROUND + offsets[i];
	return (ssize_t)added;
}
