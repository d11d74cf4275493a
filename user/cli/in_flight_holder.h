/* SPDX-License-Identifier: MIT */
/* Who has a request, asked of /proc and of REQUESTS. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sink/request.h"

/* Completes REPORT, whose request is not answered: the holder, what that thread waits in, and its
 * kernel stack. IS_GO: the process is a Go program. */
void in_flight_find_holder(
	struct requests *requests, uint64_t start_ticks, bool is_go, struct request_report *report);
/* The thread waits for more of the request. */
bool in_flight_is_incomplete(const struct request *r);
