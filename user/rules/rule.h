/* SPDX-License-Identifier: MIT */
/* A rule: WHO × WHEN × HOW OFTEN × WHAT (DESIGN.md, section 4), and what it says about an event.
 * Pure: the time and all that is known of the process come as arguments. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "probe/event.h"
#include "rules/action.h"
#include "rules/condition.h"
#include "rules/decision.h"
#include "rules/function.h"
#include "rules/ledger.h"
#include "rules/request.h"
#include "rules/trip.h"
#include "rules/who.h"

enum exit_wish {
	EXIT_WISH_NONE,
	EXIT_WISH_ANY,
	EXIT_WISH_NONZERO, /* or killed by a signal */
	EXIT_WISH_CODE,
};

struct rule {
	const char *name;
	struct who who;
	/* WHEN */
	uint64_t fatal_signals; /* mask; a death of one of these trips */
	uint64_t first_chance;	/* mask; a handled signal of these trips */
	enum exit_wish exit;
	int exit_code;	    /* EXIT_WISH_CODE: 0 to 255 */
	unsigned int armed; /* bit a condition_kind: which of CONDITIONS are there */
	struct condition conditions[CONDITION_KINDS];
	bool all_of; /* all of those at once; else any */
	enum cpu_base cpu_base;
	enum memory_base memory_base;
	uint64_t for_ns;      /* they must hold this long, in a row; 0: one sample is enough */
	uint64_t window_ns;   /* not in a row, but FOR_NS of this window; 0: in a row */
	uint64_t interval_ns; /* between two samples */
	struct request_rule request;
	struct function_rule functions;
	uint64_t unread_ns; /* work has lain in its sockets for so long; 0: not asked for */
	uint64_t
		stall_ns; /* an event loop has not gone back to its wait for so long; 0: the same */
	/* HOW OFTEN */
	uint64_t count;	   /* captures (or trips, where nothing is captured), 0: no end */
	uint64_t every_ns; /* at least this long between two captures */
	/* At most so many (up to LEDGER_STARTS_MAX) in so long; 0: no bound. */
	uint64_t rate_count, rate_ns;
	uint64_t min_age_ns;	   /* of the process when it trips */
	uint64_t start_ns, end_ns; /* CLOCK_REALTIME, from and until when it captures; 0: none */
	uint64_t duration_ns;	   /* it captures for so long, once armed; 0: no end */
	/* WHAT */
	struct capture_options what;
	bool observe;		     /* decide and report, capture nothing */
	struct actions before, then; /* in order, ahead of a capture and after it */
};

/* What the rule owns (WHO, the actions, functions and the paths of requests); NAME and the strings
 * of WHAT are borrowed. */
void rule_free(struct rule *r);

/* It waits for requests: slow ones, or such as are answered with a status. */
bool rule_wants_requests(const struct rule *r);
/* It can trip on a process that lives on. */
bool rule_wants_living(const struct rule *r);
/* Whether the event is one this rule waits for (the process matched already). */
bool rule_trips(const struct rule *r, const struct event *e);
/* A trip of it is to be captured, not only told. */
bool rule_captures(const struct rule *r);
/* What to do about a process that tripped; counts a capture as begun in the ledger, which is the
 * only state. */
struct decision rule_decide(const struct rule *r, struct ledger *l, const struct trip *trip,
	const struct clock_pair *now);
/* A capture that was begun has come to nothing: it does not count. The process, if it lives on, is
 * tried again after the rule's interval, then after twice as long each time, up to
 * RULE_RETRY_MAX_NS.
 */
void rule_give_back(struct ledger *l, const struct decision *d, const struct clock_pair *now);
#define RULE_RETRY_MAX_NS (300 * NSEC_PER_SEC)
/* Nanoseconds from NOW until such a trip is captured, as far as the rule's limits and the host's
 * say; UINT64_MAX: never. */
uint64_t rule_retry_ns(const struct rule *r, const struct ledger *l, const struct trip *trip,
	const struct clock_pair *now);
/* Nothing more will ever be captured. */
bool rule_is_spent(const struct rule *r, const struct ledger *l, const struct clock_pair *now);

#define RULE_NEVER_FREE INT64_MAX

/* Why a trip now would be skipped, as rule_decide() has it: static text, NULL if it would not. In
 * *UNTIL_NS, CLOCK_BOOTTIME as in a ledger, until when that will be so; RULE_NEVER_FREE: for ever.
 */
const char *rule_refusal(const struct rule *r, const struct ledger *l, const struct trip *trip,
	const struct clock_pair *now, int64_t *until_ns);
