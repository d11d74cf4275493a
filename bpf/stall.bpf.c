/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads that come out of the wait of an event loop. The probe lies behind the system call, and
 * only where a thread is suspected of not having come back: then it does not fire. */
#include "common.bpf.h"

#include "arch.bpf.h"
#include "firing.bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile struct ct_config config = {}; /* of the headers; nothing here looks at it */

/* User space makes the entries and takes them away, those of suspects alone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct ct_suspect);
} suspects SEC(".maps");

/* It wakes user space, which reads the map; where there is no room that waits for the next sample.
 */
static __always_inline void report_rounds(__u32 tid)
{
	struct ct_rounds *out = reserve(&events, CT_ROUNDS, sizeof(*out), CT_LOSS_EVENT_RING_FULL);

	if (!out)
		return;
	out->tid = tid;
	out->padding = 0;
	bpf_ringbuf_submit(out, 0);
}

SEC("?uprobe")
int stall_return(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id;
	struct ct_suspect *suspect;

	if (!count_firing(id >> 32, bpf_ktime_get_boot_ns()))
		return 0;
	suspect = bpf_map_lookup_elem(&suspects, &tid);
	/* Some libraries make all their system calls at one place. */
	if (!suspect || (suspect->first && suspect->first != first_argument(ctx)))
		return 0;
	suspect->last_ns = bpf_ktime_get_ns();
	if (++suspect->rounds == CT_ROUNDS_TOLD)
		report_rounds(tid);
	return 0;
}
