/* SPDX-License-Identifier: MIT */
/* What a watch says when it is armed. */
#pragma once

#include <jansson.h>

#include "cli/destination.h"
#include "cli/inside.h"
#include "cli/targets.h"
#include "rules/rule.h"

/* The `armed` event: what is watched for, how large a capture is expected to be, and the space
 * there is. MASK is the rule's own bit. */
json_t *armed_event(const struct rule *rule, uint64_t mask, const struct targets *targets,
	const struct inside *inside, const struct destination *output);
