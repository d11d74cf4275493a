/* SPDX-License-Identifier: MIT */
/* What a taken-over unwinder could send, and the signature of what passes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "lib/json.h"
#include "target/unwind.h"
#include "target/unwind_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *thread = NULL;
	char signature[17];

	if (unwind_reply_parse((const char *)data, size, 16, &thread) < 0)
		return 0;
	if (json_array_size(json_object_get(thread, "stack")) > 16)
		abort();
	unwind_signature(11, json_object_get(thread, "stack"), signature);
	return 0;
}
