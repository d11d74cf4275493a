/* SPDX-License-Identifier: MIT */
/* The kernel side's own count of what it could not deliver. */
#pragma once

#include <abi.h>
#include <bpf/libbpf.h>
#include <stdint.h>

/* Sums of the CPUs by enum ct_loss; 0 or -errno. */
int counters_read(const struct bpf_map *counters, uint64_t sums[CT_LOSS_MAX]);
/* The reason's name in events: static text. */
const char *counters_reason(enum ct_loss reason);
