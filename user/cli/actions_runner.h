/* SPDX-License-Identifier: MIT */
/* The inside of the process that runs a list of actions. */
#pragma once

#include "cli/actions.h"

/* What all events of one list hold: id, rule and process of the incident. New reference. */
json_t *actions_base(const json_t *incident);
/* The event "action" of the Nth action without its result; *ACTION is borrowed from it. */
json_t *actions_event(
	const json_t *base, const struct actions_request *request, size_t n, json_t **action);

/* Runs them, a line into REPLYFD for each. */
_Noreturn void actions_runner(const struct actions_request *request, int replyfd);
