/* SPDX-License-Identifier: MIT */
/* What a worker tells of its capture: {"captured":true,"incident":…}, or
 * {"captured":false,"code":…,"reason":…}. */
#pragma once

#include <jansson.h>

/* NULL without memory. CODE is static text for machines, REASON (may be NULL) a sentence. */
json_t *capture_result_failure(const char *code, const char *reason);
/* The same of an error of capture_job_run() or live_capture(). */
json_t *capture_result_error(int error, const char *reason);
json_t *capture_result_success(json_t *incident); /* borrowed */
