/* SPDX-License-Identifier: MIT */
/* Text of maps and smaps: what is accepted is in order, aligned, and found again by address. */
#include <stdint.h>
#include <stdlib.h>

#include "target/maps.h"
#include "target/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_maps_ struct maps maps = {0};

	if (maps_parse((const char *)data, size, &maps) < 0)
		return 0;
	for (size_t i = 0; i < maps.n; i++) {
		const struct mapping *m = &maps.v[i];

		if (m->start >= m->end || m->start % MEMORY_PAGE || m->end % MEMORY_PAGE ||
			!m->name)
			abort();
		if (i && m->start < maps.v[i - 1].end)
			abort();
		if (maps_find(&maps, m->start) != m || maps_find(&maps, m->end - 1) != m)
			abort();
	}
	return 0;
}
