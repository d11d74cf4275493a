/* SPDX-License-Identifier: MIT */
/* Text that a process chose must come out as valid, bounded text, whatever its bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *printable = text_printable((const char *)data, size, 64);
	_cleanup_free_ char *utf8 = text_utf8((const char *)data, size, 64);
	_cleanup_json_ json_t *valid = utf8 ? json_string(utf8) : NULL;
	char name[32];

	if (!printable || !utf8)
		return 0;
	for (const char *p = printable; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			abort();
	/* jansson refuses what is not UTF-8. */
	if (!valid)
		abort();
	text_filename(utf8, name, sizeof(name));
	if (!name[0] || name[0] == '.' || strchr(name, '/'))
		abort();
	return 0;
}
