/* SPDX-License-Identifier: MIT */
/* The kernel side's own count of what it could not deliver. */
#pragma once

#include <abi.h>
#include <bpf/libbpf.h>
#include <stdint.h>

#include "probe/probe.h"

/* Sums of the CPUs by enum ct_loss; 0 or -errno. */
int counters_read(const struct bpf_map *counters, uint64_t sums[CT_LOSS_MAX]);
/* The reason's name in events: static text. */
const char *counters_reason(enum ct_loss reason);

/* What came to be lost since the last call, UNDECODABLE records included; REPORTED, zero at first,
 * keeps what has been told. The number of reasons in OUT, or -errno. */
int counters_losses(const struct bpf_map *counters, uint64_t undecodable,
	uint64_t reported[CT_LOSS_MAX + 1], struct probe_loss out[PROBE_LOSSES_MAX]);
