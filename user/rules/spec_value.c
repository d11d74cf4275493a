/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/signals.h"
#include "lib/text.h"
#include "rules/spec_table.h"

/* Sums of two such times and the clock stay far below 2^64 ns; nobody waits longer for a trap. */
#define TIME_MAX_NS (366 * 86400 * NSEC_PER_SEC)
/* User addresses have no more bits anywhere (x86-64, five levels), so no process can have more. */
#define SIZE_MAX_BYTES (1ULL << 56)
#define PAGE_BYTES     4096
#define QUOTED_MAX     60

int spec_refuse(char why[SPEC_WHY_MAX], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, SPEC_WHY_MAX, format, args);
	va_end(args);
	return -EINVAL;
}

int spec_refuse_value(char why[SPEC_WHY_MAX], const char *value, const char *rest, ...)
{
	_cleanup_free_ char *quoted = text_printable(value, strlen(value), QUOTED_MAX);
	int used = snprintf(why, SPEC_WHY_MAX, "'%.*s' ", SPEC_WHY_MAX / 2, quoted ? quoted : "");
	va_list args;

	va_start(args, rest);
	vsnprintf(why + used, (size_t)(SPEC_WHY_MAX - used), rest, args);
	va_end(args);
	return -EINVAL;
}

int spec_parse_time(const char *value, uint64_t *ns, char why[SPEC_WHY_MAX])
{
	int r = text_parse_duration(value, ns);

	if (r == -EINVAL)
		return spec_refuse_value(why, value, "is not a time (250ms, 10s, 5m, 1h)");
	if (r < 0 || *ns > TIME_MAX_NS)
		return spec_refuse_value(why, value, "is longer than a year");
	if (*ns == 0)
		return spec_refuse(why, "must be longer than 0");
	return 0;
}

int spec_parse_moment(const char *value, uint64_t *realtime_ns, char why[SPEC_WHY_MAX])
{
	static const struct {
		const char *format;
		bool utc;
	} forms[] = {{"%Y-%m-%dT%H:%M:%SZ", true}, {"%Y-%m-%dT%H:%M:%S", false},
		{"%Y-%m-%d %H:%M:%S", false}, {"%Y-%m-%d %H:%M", false}, {"%Y-%m-%d", false}};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = {.tm_isdst = -1};
		const char *end = strptime(value, forms[i].format, &tm);
		time_t seconds;

		if (!end || *end || tm.tm_mday == 0)
			continue;
		seconds = forms[i].utc ? timegm(&tm) : mktime(&tm);
		if (seconds <= 0)
			break;
		*realtime_ns = (uint64_t)seconds * NSEC_PER_SEC;
		return 0;
	}
	return spec_refuse_value(
		why, value, "is not a date (2026-11-24T09:00:00Z, or 2026-11-24 09:00 here)");
}

int spec_parse_number(
	const char *value, uint64_t least, uint64_t most, uint64_t *out, char why[SPEC_WHY_MAX])
{
	if (text_parse_u64(value, out) < 0 || *out < least || *out > most)
		return spec_refuse_value(why, value, "is not a number from %ju to %ju",
			(uintmax_t)least, (uintmax_t)most);
	return 0;
}

int spec_parse_size(const char *value, uint64_t *bytes, char why[SPEC_WHY_MAX])
{
	int r = text_parse_size(value, bytes);

	if (r == -EINVAL)
		return spec_refuse_value(why, value, "is not a size (400M, 2G)");
	if (r < 0 || *bytes > SIZE_MAX_BYTES)
		return spec_refuse_value(why, value, "is more than a process can have");
	if (*bytes < PAGE_BYTES)
		return spec_refuse_value(
			why, value, "is less than a page of memory; sizes take K, M, G");
	return 0;
}

int spec_parse_percent(
	const char *value, uint64_t most, uint64_t *thousandths, char why[SPEC_WHY_MAX])
{
	int r = text_parse_percent(value, thousandths);

	if (r == -EINVAL)
		return spec_refuse_value(why, value, "is not a percentage (80, 12.5, 80%%)");
	if (r == 0 && *thousandths == 0)
		return spec_refuse(why, "must be more than 0");
	if (r < 0 || *thousandths > most * 1000)
		return spec_refuse_value(why, value, "is more than %ju %%", (uintmax_t)most);
	return 0;
}

int spec_parse_per_time(const char *value, const char *form, char head[static 64], uint64_t *ns,
	char why[SPEC_WHY_MAX])
{
	const char *slash = strchr(value, '/');

	if (!slash || slash == value || slash - value >= 64)
		return spec_refuse_value(why, value, "is not %s", form);
	memcpy(head, value, (size_t)(slash - value));
	head[slash - value] = '\0';
	return spec_parse_time(slash + 1, ns, why);
}

int spec_parse_signals(
	const char *value, uint64_t impossible, uint64_t *mask, char why[SPEC_WHY_MAX])
{
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *name;

	if (!copy)
		return -ENOMEM;
	*mask = 0;
	while ((name = strsep(&rest, ",")) != NULL) {
		int sig = signals_parse(name);
		uint64_t bit = sig > 0 ? SIGNAL_BIT(sig) : 0;

		if (!bit)
			return spec_refuse_value(why, name, "is not a signal");
		if (impossible & bit)
			return spec_refuse_value(why, name, "can never do that");
		*mask |= bit;
	}
	return 0;
}
