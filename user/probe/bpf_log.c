/* SPDX-License-Identifier: MIT */
#include "probe/bpf_log.h"

#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"

/* The verifier's log comes as one text of many lines. */
static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;

	if (log_get_level() < (level == LIBBPF_DEBUG ? LOG_LEVEL_DEBUG + 1 : LOG_LEVEL_DEBUG))
		return 0;
	if (vasprintf(&text, format, args) < 0)
		return 0;
	for (rest = text; (line = strsep(&rest, "\n")) != NULL;)
		if (*line)
			log_debug("libbpf=\"%s\"", line);
	return 0;
}

void bpf_log_start(void)
{
	libbpf_set_print(print_libbpf);
}
