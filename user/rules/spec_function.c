/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "rules/spec_table.h"

#define LIMIT_MIN_NS (10 * NSEC_PER_MSEC) /* the least time between two looks */
#define LIMIT_MAX_NS (3600 * NSEC_PER_SEC)

/* The name may hold a '=' itself ("operator=="), the time none. */
int spec_set_function(struct spec *s, enum spec_id id, const char *value, char why[SPEC_WHY_MAX])
{
	_cleanup_(function_wish_free) struct function_wish wish = {};
	struct function_rule *rule = &s->rule->functions;
	const char *equals = strrchr(value, '=');
	uint64_t limit;
	int r;

	(void)id;
	if (!equals)
		return spec_refuse_value(
			why, value, "is not FILE:SYMBOL=TIME (libc.so.6:fsync=2s)");
	r = spec_parse_time(equals + 1, &limit, why);
	if (r < 0)
		return r;
	if (limit < LIMIT_MIN_NS || limit > LIMIT_MAX_NS)
		return spec_refuse_value(why, equals + 1, "is not a time from 10ms to 1h");
	r = function_parse(value, (size_t)(equals - value), &wish);
	if (r == -EINVAL)
		return spec_refuse_value(why, value,
			"is not FILE:SYMBOL=TIME or usdt:FILE:PROVIDER:BEGIN,END[@ARGUMENT]=TIME");
	if (r < 0)
		return r;
	if (rule->n == FUNCTIONS_MAX)
		return spec_refuse(why, "given more than %d times", FUNCTIONS_MAX);
	for (size_t i = 0; i < rule->n; i++)
		if (strcmp(rule->v[i].text, wish.text) == 0)
			return spec_refuse_value(why, wish.text, "is there twice");
	wish.limit_ns = limit;
	rule->v[rule->n++] = wish;
	wish = (struct function_wish){};
	return 0;
}
