/* SPDX-License-Identifier: MIT */
/* Ring-buffer records. */
#include <abi.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "probe/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses the kind and the rest fills a record of its size, so that the fuzzer gets
 * behind the checks of kind and size, which it also meets as they stand. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t sizes[] = {[CT_DEATH] = sizeof(struct ct_death),
		[CT_FIRST_CHANCE] = sizeof(struct ct_signal),
		[CT_EXIT] = sizeof(struct ct_exit),
		[CT_EXEC] = sizeof(struct ct_exec),
		[CT_FORK] = sizeof(struct ct_fork)};
	static union {
		struct ct_header header;
		struct ct_death death;
		uint8_t bytes[sizeof(struct ct_death)];
	} record;
	struct event *e = NULL;

	if (decode_record(data, size, 0, &e) == 0)
		event_free(e);
	if (size < 1 || data[0] % 8 < CT_DEATH || data[0] % 8 > CT_FORK)
		return 0;
	memset(&record, 0, sizeof(record));
	memcpy(record.bytes, data + 1, size - 1 < sizeof(record) ? size - 1 : sizeof(record));
	record.header.kind = data[0] % 8;
	record.header.size = sizes[record.header.kind];
	e = NULL;
	if (decode_record(&record, record.header.size, 0, &e) == 0)
		event_free(e);
	return 0;
}
