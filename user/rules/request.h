/* SPDX-License-Identifier: MIT */
/* Conditions on requests: which ones count, and how many of them trip. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "probe/requests.h"
#include "rules/who.h"

struct request_rule {
	uint64_t slow_ns; /* a request that waits so long is a point; 0: not asked for */
	struct who_list
		paths; /* globs: only these paths count; a request without a path does not */
	struct who_list excludes; /* these do not */
	uint64_t count, count_ns; /* so many points in this time trip; 0: each one does */
	uint64_t share,
		share_ns; /* so much of all requests (thousandths of a percent); 0: not asked for */
	unsigned int status_min,
		status_max; /* an answer with one of these is a point; 0, 0: not asked for */
};

#define REQUEST_SHARE_LEAST 5	  /* requests in the time, before a share of them says anything */
#define REQUEST_COUNT_MAX   10000 /* of request_rule.count */

/* "10/60s", "80%/2m", "500-599" or "503"; 0, -EINVAL or -ERANGE. */
int request_parse_count(const char *text, uint64_t *count, uint64_t *count_ns);
int request_parse_share(const char *text, uint64_t *share, uint64_t *share_ns);
int request_parse_status(const char *text, unsigned int *min, unsigned int *max);

/* Whether the request is one that the rule counts, by its path. */
bool request_rule_wants(const struct request_rule *rule, const struct request *request);
/* The share is of requests that go by their path, so requests_options.every_answer is needed. Else
 * the numbers of requests_answered() do. */
bool request_rule_needs_every_answer(const struct request_rule *rule);

enum request_trip {
	REQUEST_TRIP_NONE,
	REQUEST_TRIP_SLOW,  /* a slow one was one too many */
	REQUEST_TRIP_SHARE, /* too many of all were slow */
	REQUEST_TRIP_STATUS,
};

struct request_state; /* of one rule over one process */

int request_state_new(const struct request_rule *rule,
	struct request_state **out);		  /* RULE is borrowed; -ENOMEM */
void request_state_free(struct request_state *s); /* NULL-safe */

/* One pass of requests_scan(), of which only this process' requests are given. A request is one
 * point, at the pass that first finds it past its limit; it may still be running. ANSWERED is as
 * requests_answered() has it (0 where it is not needed). *CULPRIT is one of REQUESTS: the slowest
 * of those that were counted in this pass, NULL: none. -ENOMEM. */
int request_state_pass(struct request_state *s, const struct request *requests, size_t n,
	uint64_t answered, uint64_t now_ns, enum request_trip *trip,
	const struct request **culprit);
/* An answer, as requests_next() hands it out: all of them are to be taken between two passes. A
 * slow one that no pass has found is a point too. */
enum request_trip request_state_answer(
	struct request_state *s, const struct request *answer, uint64_t now_ns);
/* What was counted does not count any more: the process was captured, or is another image. */
void request_state_restart(struct request_state *s);
/* Points of the current time, for those who ask. */
uint64_t request_state_points(const struct request_state *s, uint64_t now_ns);
