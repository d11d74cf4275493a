/* SPDX-License-Identifier: MIT */
/* Who has a request, and whom its process waits for: asked of /proc and of REQUESTS. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sink/request.h"

/* Completes REPORT, whose request is not answered: the holder, what that thread waits in, and its
 * kernel stack. IS_GO: the process is a Go program. */
void in_flight_find_holder(
	struct requests *requests, uint64_t start_ticks, bool is_go, struct request_report *report);
/* And those whom the process waits for that long: half the limit, since its own call began later
 * than the request. */
void in_flight_find_peers(
	struct requests *requests, uint64_t age_ns, struct request_report *report);

/* Whom a slow request seems to wait for. */
enum in_flight_claim {
	CLAIM_OF_PROCESS,
	CLAIM_OF_CLIENT, /* its reader waits for more of it */
	CLAIM_UNSETTLED, /* more of it has come, or may have, and the reader has not had the time */
};

enum in_flight_claim in_flight_claim(const struct request *r);
