/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes on user code cost whoever runs it: those of a process that fire too often are given up. */
#ifndef CORETRAP_FIRING_BPF_H
#define CORETRAP_FIRING_BPF_H

#include "common.bpf.h"

#define FIRING_SECOND_NS 1000000000ULL

/* By process; user space makes the entry, without which nothing of that process is looked at. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct ct_firing);
} firings SEC(".maps");

static __always_inline void report_overrun(__u32 tgid)
{
	struct ct_overrun *out =
		reserve(&events, CT_OVERRUN, sizeof(*out), CT_LOSS_EVENT_RING_FULL);

	if (!out)
		return;
	out->tgid = tgid;
	out->padding = 0;
	bpf_ringbuf_submit(out, 0);
}

/* Counts one; false: it was too many, user space has been told to take the probes off, and nothing
 * else is to be done here. Where two CPUs begin a second at once a few are counted twice or not. */
static __always_inline bool count_firing(__u32 tgid, __u64 now)
{
	struct ct_firing *f = bpf_map_lookup_elem(&firings, &tgid);

	if (!f || f->over)
		return false;
	if (now - f->window_ns >= FIRING_SECOND_NS) {
		f->window_ns = now;
		f->count = 0;
	}
	__sync_fetch_and_add(&f->count, 1);
	if (f->count <= CT_FIRINGS_MAX)
		return true;
	f->over = 1;
	report_overrun(tgid);
	return false;
}

#endif
