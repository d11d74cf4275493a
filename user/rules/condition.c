/* SPDX-License-Identifier: MIT */
#include "rules/condition.h"

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "target/usage.h"

#define WHOLE 100000u /* 100 %, in thousandths of a percent */

static const char *const names[CONDITION_KINDS] = {
	[CONDITION_CPU] = "cpu",
	[CONDITION_CPU_BELOW] = "cpu-below",
	[CONDITION_MEMORY] = "memory",
	[CONDITION_MEMORY_BELOW] = "memory-below",
	[CONDITION_MEMORY_GROWTH] = "memory-growth",
	[CONDITION_THREADS] = "threads",
	[CONDITION_FDS] = "fds",
};

const char *condition_name(enum condition_kind kind)
{
	return names[kind];
}

static bool share(unsigned __int128 part, unsigned __int128 whole, uint64_t *out)
{
	unsigned __int128 v;

	if (whole == 0)
		return false;
	v = part * WHOLE / whole;
	*out = v < UINT64_MAX ? (uint64_t)v : UINT64_MAX;
	return true;
}

/* CPU time that is 100 %, in nanoseconds a second; 0: not known. */
static uint64_t whole_cpu(const struct measure *m, enum cpu_base base)
{
	uint64_t machine;

	if (base == CPU_BASE_CORE)
		return NSEC_PER_SEC;
	if (__builtin_mul_overflow(m->machine_cpus, NSEC_PER_SEC, &machine))
		return 0;
	if (base == CPU_BASE_MACHINE || m->quota_ns == USAGE_UNKNOWN)
		return machine;
	return machine && m->quota_ns > machine ? machine : m->quota_ns;
}

bool condition_cpu(
	const struct measure *from, const struct measure *to, enum cpu_base base, uint64_t *out)
{
	const struct sample *a = &from->sample, *b = &to->sample;

	/* The time of a thread that ends moves from one counter to another: a sum that was read in
	 * between can go back. */
	if (b->time_ns <= a->time_ns || b->cpu_ns < a->cpu_ns)
		return false;
	return share((unsigned __int128)(b->cpu_ns - a->cpu_ns) * NSEC_PER_SEC,
		(unsigned __int128)(b->time_ns - a->time_ns) * whole_cpu(to, base), out);
}

bool condition_memory(const struct measure *m, enum memory_base base, uint64_t *out)
{
	const struct sample *s = &m->sample;
	uint64_t parts[] = {s->anonymous, s->swapped, base == MEMORY_BASE_RSS ? s->file : 0,
		base == MEMORY_BASE_RSS ? s->shared : 0};
	uint64_t sum = 0;

	if (!s->anonymous && !s->file && !s->shared && !s->swapped)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (__builtin_add_overflow(sum, parts[i], &sum))
			return false;
	*out = sum;
	return true;
}

bool condition_memory_share(const struct measure *m, uint64_t bytes, uint64_t *out)
{
	uint64_t whole = m->machine_memory;

	if (m->memory_limit != USAGE_UNKNOWN && (!whole || m->memory_limit < whole))
		whole = m->memory_limit;
	return share(bytes, whole, out);
}

bool condition_is_past(enum condition_kind kind, const struct condition *c, uint64_t value)
{
	if (kind == CONDITION_CPU_BELOW || kind == CONDITION_MEMORY_BELOW)
		return value < c->limit;
	return value >= c->limit;
}
