/* SPDX-License-Identifier: MIT */
#include "rules/decision.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"

static const char *const kinds[] = {
	[CORE_FULL] = "full",
	[CORE_HEAP] = "heap",
	[CORE_MINI] = "mini",
	[CORE_STACKS] = "stacks",
	[CORE_NONE] = "none",
};

static const char *const compressions[] = {[COMPRESS_ZSTD] = "zstd", [COMPRESS_NONE] = "none"};

static const char *const snapshots[] = {
	[SNAPSHOT_AUTO] = "auto", [SNAPSHOT_FORK] = "fork", [SNAPSHOT_STOP] = "stop"};

static int find(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -EINVAL;
}

const char *core_kind_name(enum core_kind kind)
{
	return kinds[kind];
}

int core_kind_parse(const char *name)
{
	return find(kinds, ARRAY_SIZE(kinds), name);
}

const char *core_compression_name(enum core_compression c)
{
	return compressions[c];
}

int core_compression_parse(const char *name)
{
	return find(compressions, ARRAY_SIZE(compressions), name);
}

const char *snapshot_mode_name(enum snapshot_mode mode)
{
	return snapshots[mode];
}

int snapshot_mode_parse(const char *name)
{
	return find(snapshots, ARRAY_SIZE(snapshots), name);
}
