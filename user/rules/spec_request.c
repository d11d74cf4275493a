/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "lib/clock.h"
#include "rules/spec_table.h"

#define SLOW_MIN_NS SPEC_INTERVAL_MIN_NS /* the least time between two looks */
#define SLOW_MAX_NS SPEC_INTERVAL_MAX_NS

static int parse_wait(const char *value, uint64_t *ns, char why[SPEC_WHY_MAX])
{
	int r = spec_parse_time(value, ns, why);

	if (r == 0 && (*ns < SLOW_MIN_NS || *ns > SLOW_MAX_NS))
		r = spec_refuse_value(why, value, "is not a time from 50ms to 1h");
	return r;
}

static int set_path(struct who_list *list, const char *value, char why[SPEC_WHY_MAX])
{
	if (*value != '/' && *value != '*' && *value != '?' && *value != '[')
		return spec_refuse_value(why, value, "matches no path: they begin with /");
	return who_list_add(list, value);
}

int spec_set_request(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	struct request_rule *rule = &s->rule->request;

	switch (id) {
	case SPEC_REQUEST_SLOW:
		return parse_wait(value, &rule->slow_ns, why);
	case SPEC_REQUEST_PATH:
		return set_path(&rule->paths, value, why);
	case SPEC_REQUEST_EXCLUDE:
		return set_path(&rule->excludes, value, why);
	case SPEC_REQUEST_COUNT:
		if (request_parse_count(value, &rule->count, &rule->count_ns) == 0)
			return 0;
		return spec_refuse_value(
			why, value, "is not N/TIME (10/60s), N from 1 to %d", REQUEST_COUNT_MAX);
	case SPEC_REQUEST_SLOW_SHARE:
		if (request_parse_share(value, &rule->share, &rule->share_ns) == 0)
			return 0;
		return spec_refuse_value(why, value, "is not PCT%%/TIME (80%%/2m), 1%% to 100%%");
	case SPEC_REQUEST_STATUS:
		if (request_parse_status(value, &rule->status_min, &rule->status_max) == 0)
			return 0;
		return spec_refuse_value(
			why, value, "is not LOW-HIGH or one status (500-599, 503), 100 to 599");
	case SPEC_STALL:
		return parse_wait(value, &s->rule->stall_ns, why);
	default:
		return parse_wait(value, &s->rule->unread_ns, why);
	}
}
