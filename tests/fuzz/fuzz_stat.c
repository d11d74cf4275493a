/* SPDX-License-Identifier: MIT */
/* /proc/PID/stat, whose second field is what a process chose to be called. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "target/stat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1); /* io_read_file_at() ends what it reads with a NUL */
	struct stat_line s;

	if (!line)
		return 0;
	memcpy(line, data, size);
	line[size] = '\0';
	stat_parse(line, size, &s);
	free(line);
	return 0;
}
