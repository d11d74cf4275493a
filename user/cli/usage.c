/* SPDX-License-Identifier: MIT */
#include "cli/usage.h"

#include <stdio.h>
#include <string.h>
#include <sys/types.h>

/* argp ends its message with a hint on lines of their own. */
static ssize_t write_unless_hint(void *cookie, const char *text, size_t size)
{
	static const char hint[] = "Try `";
	const char *at = memmem(text, size, hint, sizeof(hint) - 1);
	size_t kept = at && (at == text || at[-1] == '\n') ? (size_t)(at - text) : size;

	(void)cookie;
	fwrite(text, 1, kept, stderr);
	return (ssize_t)size;
}

void usage_one_line(struct argp_state *state)
{
	FILE *stream = NULL;

	if (state->err_stream == stderr)
		stream =
			fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_unless_hint});
	if (!stream)
		return;			     /* two lines, then */
	setvbuf(stream, NULL, _IOFBF, 4096); /* message and hint in one write, at exit */
	state->err_stream = stream;
}
