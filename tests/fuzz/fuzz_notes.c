/* SPDX-License-Identifier: MIT */
/* Notes of a core: whatever the bytes, each note lies within them, and the registers are those of
 * its threads. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "capture/notes.h"
#include "lib/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ struct thread_registers *threads = NULL;
	_cleanup_notes_ struct notes notes = {0};
	_cleanup_free_ char *copy = malloc(size + 1);
	const char *end;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (notes_parse(copy, size, &notes) < 0)
		return 0;
	end = TAKE_PTR(copy);
	end += size;
	for (size_t i = 0; i < notes.n; i++) {
		const struct note *n = &notes.v[i];
		const char *desc = n->desc;

		if (n->name + strlen(n->name) >= end || (uintptr_t)desc % 4 || desc > end ||
			n->size > (size_t)(end - desc))
			abort();
	}
	if (notes_registers(&notes, &threads) == 0 && !threads)
		abort();
	return 0;
}
