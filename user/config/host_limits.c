/* SPDX-License-Identifier: MIT */
#include "config/host_limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/text.h"

enum limit_kind {
	LIMIT_COUNT,   /* 0: no limit */
	LIMIT_AT_ONCE, /* at least 1: with none, nothing would ever be captured */
	LIMIT_TIME,
	LIMIT_SIZE,
	LIMIT_AMOUNT,
};

static const struct {
	const char *name;
	enum limit_kind kind;
	size_t offset;
} rows[] = {
	{"rule-per-day", LIMIT_COUNT, offsetof(struct host_limits, rule_per_day)},
	{"signature-per-day", LIMIT_COUNT, offsetof(struct host_limits, signature_per_day)},
	{"host-per-day", LIMIT_COUNT, offsetof(struct host_limits, host_per_day)},
	{"process-spacing", LIMIT_TIME, offsetof(struct host_limits, process_spacing_ns)},
	{"live-at-once", LIMIT_AT_ONCE, offsetof(struct host_limits, live_at_once)},
	{"crash-at-once", LIMIT_AT_ONCE, offsetof(struct host_limits, crash_at_once)},
	{"write-speed", LIMIT_SIZE, offsetof(struct host_limits, write_speed)},
	{"store-size", LIMIT_AMOUNT, offsetof(struct host_limits, store_size)},
	{"store-free", LIMIT_AMOUNT, offsetof(struct host_limits, store_free)},
};

static const char *const takes[] = {
	[LIMIT_COUNT] = "takes a number (0: no limit)",
	[LIMIT_AT_ONCE] = "takes a number, at least 1",
	[LIMIT_TIME] = "takes a time (30s, 5m, 1h)",
	[LIMIT_SIZE] = "takes a size (200M; 0: no limit)",
	[LIMIT_AMOUNT] = "takes a size (10G), a share of the file system (10%), or a list of both",
};

const struct host_limits host_limits_default = {
	.rule_per_day = 3,
	.signature_per_day = 1,
	.host_per_day = 12,
	.process_spacing_ns = 300 * NSEC_PER_SEC,
	.live_at_once = 1,
	.crash_at_once = 2,
	.write_speed = 200ULL << 20,
	.store_size = {10ULL << 30, 10},
	.store_free = {0, 15},
};

const char *host_limits_name(size_t i)
{
	return i < ARRAY_SIZE(rows) ? rows[i].name : NULL;
}

bool host_limits_is_amount(size_t i)
{
	return rows[i].kind == LIMIT_AMOUNT;
}

static int parse_share(const char *value, unsigned int *out)
{
	size_t length = strlen(value);
	char digits[4] = {};
	uint64_t v;

	if (length < 2 || length > sizeof(digits) || value[length - 1] != '%')
		return -EINVAL;
	memcpy(digits, value, length - 1);
	if (text_parse_u64(digits, &v) < 0 || v < 1 || v > 100)
		return -EINVAL;
	*out = (unsigned int)v;
	return 0;
}

/* One part each at most. */
static int parse_amount(const char *const *values, size_t n, struct limit_amount *out)
{
	for (size_t i = 0; i < n; i++) {
		if (!out->per_cent && parse_share(values[i], &out->per_cent) == 0)
			continue;
		if (out->bytes || text_parse_size(values[i], &out->bytes) < 0)
			return -EINVAL;
	}
	return 0;
}

int host_limits_set(
	struct host_limits *l, size_t i, const char *const *values, size_t n, const char **why)
{
	char *field = (char *)l + rows[i].offset;
	struct limit_amount amount = {};
	uint64_t v = 0;
	int r = -EINVAL;

	*why = takes[rows[i].kind];
	switch (rows[i].kind) {
	case LIMIT_COUNT:
	case LIMIT_AT_ONCE:
		r = text_parse_u64(values[0], &v);
		if (v == 0 && rows[i].kind == LIMIT_AT_ONCE)
			r = -EINVAL;
		break;
	case LIMIT_TIME:
		r = text_parse_duration(values[0], &v);
		break;
	case LIMIT_SIZE:
		r = text_parse_size(values[0], &v);
		break;
	case LIMIT_AMOUNT:
		if (parse_amount(values, n, &amount) < 0)
			return -EINVAL;
		memcpy(field, &amount, sizeof(amount));
		return 0;
	}
	if (r < 0)
		return -EINVAL;
	memcpy(field, &v, sizeof(v));
	return 0;
}

/* In the largest unit that needs no fraction. */
static void format_size(uint64_t bytes, char *text, size_t size)
{
	static const char units[] = "KMGT";
	size_t u = 0;

	while (u < sizeof(units) - 1 && bytes && bytes % 1024 == 0) {
		bytes /= 1024;
		u++;
	}
	snprintf(text, size, "%" PRIu64 "%.1s", bytes, u ? &units[u - 1] : "");
}

static void format_time(uint64_t ns, char *text, size_t size)
{
	static const struct {
		uint64_t ns;
		const char *name;
	} units[] = {{3600 * NSEC_PER_SEC, "h"}, {60 * NSEC_PER_SEC, "m"}, {NSEC_PER_SEC, "s"},
		{NSEC_PER_MSEC, "ms"}, {1000, "us"}, {1, "ns"}};
	size_t u = 0;

	while (ns % units[u].ns)
		u++;
	snprintf(text, size, "%" PRIu64 "%s", ns / units[u].ns, ns ? units[u].name : "");
}

void host_limits_format(const struct host_limits *l, size_t i, char text[HOST_LIMIT_TEXT_MAX])
{
	const char *field = (const char *)l + rows[i].offset;
	struct limit_amount amount;
	uint64_t v;

	if (rows[i].kind == LIMIT_AMOUNT) {
		memcpy(&amount, field, sizeof(amount));
		format_size(amount.bytes, text, HOST_LIMIT_TEXT_MAX);
		if (amount.per_cent && amount.bytes)
			snprintf(text + strlen(text), HOST_LIMIT_TEXT_MAX - strlen(text), ", %u%%",
				amount.per_cent);
		else if (amount.per_cent)
			snprintf(text, HOST_LIMIT_TEXT_MAX, "%u%%", amount.per_cent);
		return;
	}
	memcpy(&v, field, sizeof(v));
	if (rows[i].kind == LIMIT_TIME)
		format_time(v, text, HOST_LIMIT_TEXT_MAX);
	else if (rows[i].kind == LIMIT_SIZE)
		format_size(v, text, HOST_LIMIT_TEXT_MAX);
	else
		snprintf(text, HOST_LIMIT_TEXT_MAX, "%" PRIu64, v);
}
