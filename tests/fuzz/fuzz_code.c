/* SPDX-License-Identifier: MIT */
/* Machine code in two parts, and the text of a static probe's arguments: what is found lies within,
 * in order, and is what it is said to be. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "target/code.h"
#include "target/sdt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_inside(const struct code_range *r, uint64_t address)
{
	return address - r->start < r->size;
}

static void take_code(const uint8_t *data, size_t size)
{
	static struct code_exit exits[CODE_EXITS_MAX];
	size_t half = size / 2;
	const struct code_range ranges[] = {{.start = 0x1000, .size = half, .bytes = data},
		{.start = 0x900000, .size = size - half, .bytes = data + half}};
	int n = code_find_exits(ranges, 2, exits);

	if (n > CODE_EXITS_MAX)
		abort();
	for (int i = 0; i < n; i++) {
		const struct code_exit *e = &exits[i];

		if (!is_inside(&ranges[0], e->address) && !is_inside(&ranges[1], e->address))
			abort();
		if (e->condition > 0xf || (i && e->address <= exits[i - 1].address))
			abort();
	}
}

static void take_arguments(const uint8_t *data, size_t size)
{
	char text[256];

	size = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
	memcpy(text, data, size);
	text[size] = '\0';
	for (unsigned int i = 1; i < 5; i++) {
		struct sdt_argument a;

		if (sdt_parse_argument(text, i, &a) < 0)
			continue;
		if (a.kind == SDT_NONE || a.kind > SDT_MEMORY || a.reg >= 20 ||
			!strchr("\1\2\4\10", a.size) || !a.size)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	take_code(data, size < 4096 ? size : 4096);
	take_arguments(data, size);
	return 0;
}
