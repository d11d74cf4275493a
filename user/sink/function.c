/* SPDX-License-Identifier: MIT */
#include "sink/function.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/text.h"
#include "rules/trip.h"
#include "sink/wait.h"

#define TEXT_SHOWN 200

int function_put(json_t *trigger, const struct function_report *report)
{
	int r = json_put_text(trigger, "kind", trip_kind_name(TRIP_FUNCTION));

	r |= json_put_text(trigger, "function", report->function);
	r |= json_put_text(trigger, "file", report->file);
	r |= json_put_int(trigger, "age_ms", (int64_t)(report->age_ns / NSEC_PER_MSEC));
	r |= report->goroutine ? json_put_int(trigger, "goroutine", (int64_t)report->goroutine) : 0;
	r |= report->folded ? json_put_int(trigger, "folded", (int64_t)report->folded) : 0;
	if (!report->tid)
		return r ? -ENOMEM : 0;
	r |= json_put_int(trigger, "tid", report->tid);
	r |= report->wait.runs
		     ? json_put_bool(trigger, "running", 1)
		     : json_put(trigger, "waits_in", wait_json(&report->wait, report->stack));
	return r ? -ENOMEM : 0;
}

bool function_print(FILE *out, const json_t *trigger)
{
	const char *function = json_get_text(trigger, "function", NULL);
	_cleanup_free_ char *printable =
		function ? text_printable(function, strlen(function), TEXT_SHOWN) : NULL;

	if (!printable)
		return false;
	fprintf(out, "%s is not left for %.2f s", printable,
		(double)json_get_int(trigger, "age_ms", 0) / 1000);
	if (json_object_get(trigger, "goroutine"))
		fprintf(out, ", in goroutine %" PRId64, json_get_int(trigger, "goroutine", 0));
	if (json_object_get(trigger, "tid"))
		fprintf(out, ", in thread %" PRId64, json_get_int(trigger, "tid", 0));
	wait_print(out, json_object_get(trigger, "waits_in"));
	return true;
}
