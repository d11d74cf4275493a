/* SPDX-License-Identifier: MIT */
#include "sink/wait.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/text.h"

#define CALL_SHOWN 40

/* The kernel's stack has offsets behind its names, and its addresses in brackets. */
static json_t *stack_json(const char *stack)
{
	_cleanup_free_ char *copy = strdup(stack);
	char *rest = copy, *line;
	json_t *list = json_array();

	while (list && copy && (line = strsep(&rest, "\n")) != NULL) {
		char *name = strchr(line, ' ');

		if (name)
			json_array_append_new(list, json_string(name + 1));
	}
	return list;
}

json_t *wait_json(const struct thread_wait *wait, const char *kernel_stack)
{
	_cleanup_json_ json_t *o = json_object();
	_cleanup_free_ char *call = wait_call_name(wait);
	int r = call ? json_put_text(o, "call", call) : 0;

	r |= *wait->channel ? json_put_text(o, "channel", wait->channel) : 0;
	r |= kernel_stack && *kernel_stack ? json_put(o, "stack", stack_json(kernel_stack)) : 0;
	return r ? NULL : json_incref(o);
}

void wait_print(FILE *out, const json_t *wait)
{
	const char *call = json_get_text(wait, "call", NULL);
	_cleanup_free_ char *printable =
		call ? text_printable(call, strlen(call), CALL_SHOWN) : NULL;

	if (printable)
		fprintf(out, " (%s)", printable);
}
