/* SPDX-License-Identifier: MIT */
/* How a rule stands to a process, for a person who asks why nothing was captured. Pure. */
#pragma once

#include <stdint.h>

#include "rules/breach.h"
#include "rules/ledger.h"
#include "rules/rule.h"

enum status_phase {
	STATUS_ARMED,	  /* a trip would be captured */
	STATUS_BREACHING, /* and thresholds are passed, since SINCE_NS */
	STATUS_COOLING,	  /* a trip would be skipped until UNTIL_NS, for REASON */
	STATUS_SPENT,	  /* for ever, for REASON */
};

struct status {
	enum status_phase phase;
	int64_t since_ns, until_ns; /* CLOCK_BOOTTIME, as in a ledger */
	const char *reason;	    /* static text: that of the `skip` */
};

/* "armed", "breaching", "cooling", "spent". */
const char *status_phase_name(enum status_phase phase);

/* PROCESS is a trip that it could make now, its event NULL. READING (NULL: the rule has no
 * thresholds) is the last one. */
struct status status_of(const struct rule *r, const struct ledger *l, const struct trip *process,
	const struct breach_reading *reading, const struct clock_pair *now);
