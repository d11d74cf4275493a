/* SPDX-License-Identifier: MIT */
#include "core/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

int report_note(json_t *notes, const char *format, ...)
{
	json_t *text;
	va_list args;

	va_start(args, format);
	text = json_vsprintf(format, args);
	va_end(args);
	return json_array_append_new(notes, text) < 0 ? -ENOMEM : 0;
}

int report_left_out(json_t *notes, const struct plan *plan)
{
	for (int i = 0; i < PLAN_REASONS; i++) {
		const char *text = plan_reason_text(i);
		int r;

		if (!text || !plan->left_out[i].bytes)
			continue;
		r = report_note(notes, "left out, %s: %" PRIu64 " bytes in %zu mappings", text,
			plan->left_out[i].bytes, plan->left_out[i].mappings);
		if (r < 0)
			return r;
	}
	return 0;
}
