/* SPDX-License-Identifier: MIT */
#include "sink/stall.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "rules/trip.h"
#include "sink/wait.h"

int stall_put(json_t *trigger, const struct stall_report *report)
{
	const struct thread_wait loop = {.call = report->loop};
	_cleanup_free_ char *call = wait_call_name(&loop);
	json_t *o = json_object();
	int r = json_put_text(trigger, "kind", trip_kind_name(TRIP_STALL));

	r |= json_put(trigger, "stall", o);
	if (r)
		return -ENOMEM;
	r |= json_put_int(o, "tid", report->tid);
	r |= json_put_int(o, "age_ms", (int64_t)(report->age_ns / NSEC_PER_MSEC));
	r |= call ? json_put_text(o, "loop", call) : 0;
	if (report->wait.runs)
		r |= json_put_bool(o, "runs", 1);
	else
		r |= json_put(o, "waits_in", wait_json(&report->wait, report->stack));
	return r ? -ENOMEM : 0;
}

bool stall_print(FILE *out, const json_t *trigger)
{
	const json_t *o = json_object_get(trigger, "stall");

	if (!o)
		return false;
	fprintf(out, "event loop (%s) has not gone back for %.2f s, in thread %" PRId64,
		json_get_text(o, "loop", "?"), (double)json_get_int(o, "age_ms", 0) / 1000,
		json_get_int(o, "tid", 0));
	if (json_is_true(json_object_get(o, "runs")))
		fputs(", which runs", out);
	else
		wait_print(out, json_object_get(o, "waits_in"));
	return true;
}
