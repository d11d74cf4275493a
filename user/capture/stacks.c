/* SPDX-License-Identifier: MIT */
#include "capture/stacks.h"

#include <string.h>
#include <unistd.h>

#include "target/memory.h"

#define DEPTH_KNOWN   (256UL << 10) /* bytes of a stack whose mapping is known */
#define DEPTH_UNKNOWN (32UL << 10)

static void copy(int to, int from, uint64_t start, uint64_t end)
{
	char buffer[32768];

	while (start < end) {
		size_t want = end - start < sizeof(buffer) ? end - start : sizeof(buffer);
		ssize_t n = pread(from, buffer, want, (off_t)start);

		if (n <= 0 || pwrite(to, buffer, (size_t)n, (off_t)start) != n)
			return;
		start += (uint64_t)n;
	}
}

void stacks_copy(int stacksfd, int memfd, const struct maps *maps, const struct thread_states *s)
{
	const struct thread_state *t = NULL;

	for (size_t i = 0; i < maps->n; i++)
		if (!maps->v[i].inode && strcmp(maps->v[i].name, "[vdso]") == 0)
			copy(stacksfd, memfd, maps->v[i].start, maps->v[i].end);
	while ((t = thread_states_next(s, t)) != NULL) {
		uint64_t start = t->regs.rsp & ~(uint64_t)(MEMORY_PAGE - 1), end;
		const struct mapping *m = maps_find(maps, start);

		end = start + (m ? DEPTH_KNOWN : DEPTH_UNKNOWN);
		if (m && end > m->end)
			end = m->end;
		copy(stacksfd, memfd, start, end);
	}
}
