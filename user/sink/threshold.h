/* SPDX-License-Identifier: MIT */
/* What of a trigger says which thresholds were passed: made, and told to a person.
 *
 * "cpu": {"value":97.3,"limit":80,"base":"core","held_ms":3000} in percent; "below":true where the
 * value had to be under it. "memory": value and limit in bytes, "base" anonymous or rss, or percent
 * and limit_percent of what the process may have, or growth and growth_limit in within_ms.
 * In "cpu" also who used it, threshold_put_shares().
 * "threads" and "fds": value and limit. window_ms where not all of the time had to be in a row. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "rules/breach.h"
#include "rules/shares.h"

/* Adds what READING tripped on at measure M to TRIGGER, "kind" as well: the first of it. 0,
 * -ENOMEM, or -EINVAL if it did not trip. */
int threshold_put(json_t *trigger, const struct rule *rule, const struct breach_reading *reading,
	const struct measure *m);

/* Adds to "cpu" of TRIGGER (nothing happens where there is none) "threads":
 * [{"tid","comm","share","cpu_percent"}], of what the process used and of a core, the most first;
 * "threads_ms", in which time; "more_threads" and "other_share" where those do not make up all of
 * it. 0 or -ENOMEM. */
int threshold_put_shares(json_t *trigger, const struct shares *shares);

/* "cpu 97.3 % of a core for 3.0 s (limit 80 %)"; false, and
 * nothing, where TRIGGER is of another kind. */
bool threshold_print(FILE *out, const json_t *trigger);
