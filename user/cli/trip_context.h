/* SPDX-License-Identifier: MIT */
/* What each stage that takes trips to their last event works with; all of it is borrowed. */
#pragma once

#include "cli/destination.h"
#include "cli/followups.h"
#include "rules/rule_set.h"
#include "sink/feed.h"

struct trip_context {
	const struct rule_set *rules;
	struct ledger *ledger;
	const struct feed *feed;
	struct followups *followups; /* run what follows a capture */
	struct destination *output;
};
