/* SPDX-License-Identifier: MIT */
/* What is said about a core: sentences in core_result's notes. */
#pragma once

#include <jansson.h>

#include "core/plan.h"

/* Appends a formatted sentence; 0 or -ENOMEM. */
int report_note(json_t *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A sentence for each reason why memory was left out of PLAN that is worth saying. 0 or -ENOMEM. */
int report_left_out(json_t *notes, const struct plan *plan);
