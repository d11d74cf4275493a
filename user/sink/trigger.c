/* SPDX-License-Identifier: MIT */
#include "sink/trigger.h"

#include "sink/function.h"
#include "sink/request.h"
#include "sink/stall.h"
#include "sink/threshold.h"

bool trigger_print(FILE *out, const json_t *trigger)
{
	return threshold_print(out, trigger) || request_print(out, trigger) ||
	       function_print(out, trigger) || stall_print(out, trigger);
}
