/* SPDX-License-Identifier: MIT */
#include "probe/counters.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"

static const char *const reasons[CT_LOSS_MAX] = {
	[CT_LOSS_DEATH_RING_FULL] = "death-ring-full",
	[CT_LOSS_EVENT_RING_FULL] = "event-ring-full",
	[CT_LOSS_RATE_LIMITED] = "first-chance-rate",
	[CT_LOSS_DEATH_TABLE_FULL] = "death-table-full",
	[CT_LOSS_MARK_TABLE_FULL] = "mark-table-full",
	[CT_LOSS_REQUEST_STORAGE] = "request-storage",
	[CT_LOSS_PIPELINE] = "request-pipeline",
	[CT_LOSS_CALL_TABLE_FULL] = "call-table-full",
};

const char *counters_reason(enum ct_loss reason)
{
	return reasons[reason];
}

int counters_read(const struct bpf_map *counters, uint64_t sums[CT_LOSS_MAX])
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ __u64 *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;

	if (cpus <= 0)
		return cpus < 0 ? cpus : -ENODEV;
	if (!values)
		return -ENOMEM;
	for (__u32 reason = 0; reason < CT_LOSS_MAX; reason++) {
		int r = bpf_map__lookup_elem(counters, &reason, sizeof(reason), values,
			(size_t)cpus * sizeof(*values), 0);

		if (r < 0)
			return r;
		sums[reason] = 0;
		for (int cpu = 0; cpu < cpus; cpu++)
			sums[reason] += values[cpu];
	}
	return 0;
}

int counters_losses(const struct bpf_map *counters, uint64_t undecodable,
	uint64_t reported[CT_LOSS_MAX + 1], struct probe_loss out[PROBE_LOSSES_MAX])
{
	uint64_t sums[CT_LOSS_MAX];
	int n = 0, r = counters_read(counters, sums);

	if (r < 0)
		return r;
	for (enum ct_loss reason = 0; reason < CT_LOSS_MAX; reason++) {
		if (sums[reason] != reported[reason])
			out[n++] = (struct probe_loss){
				reasons[reason], sums[reason] - reported[reason]};
		reported[reason] = sums[reason];
	}
	if (undecodable != reported[CT_LOSS_MAX])
		out[n++] = (struct probe_loss){"undecodable", undecodable - reported[CT_LOSS_MAX]};
	reported[CT_LOSS_MAX] = undecodable;
	return n;
}
