/* SPDX-License-Identifier: MIT */
#include "cli/capture_result.h"

#include <errno.h>

#include "lib/cleanup.h"
#include "lib/json.h"

json_t *capture_result_failure(const char *code, const char *reason)
{
	_cleanup_json_ json_t *result = json_object();

	if (json_put_bool(result, "captured", 0) < 0 || json_put_text(result, "code", code) < 0 ||
		json_put_text(result, "reason", reason ? reason : "out of memory") < 0)
		return NULL;
	return TAKE_PTR(result);
}

/* What a user may act upon apart from the sentence. */
static const char *code_of(int error)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
		return "no-space";
	case -ESRCH:
		return "target-gone";
	case -EROFS:
		return "read-only";
	case -EPERM:
		return "refused";
	case -EBUSY:
		return "throttled";
	default:
		return "capture-failed";
	}
}

json_t *capture_result_error(int error, const char *reason)
{
	return capture_result_failure(code_of(error), reason);
}

json_t *capture_result_success(json_t *incident)
{
	_cleanup_json_ json_t *result = json_object();

	if (json_put_bool(result, "captured", 1) < 0 ||
		json_object_set(result, "incident", incident) < 0)
		return NULL;
	return TAKE_PTR(result);
}
