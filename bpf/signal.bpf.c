/* SPDX-License-Identifier: GPL-2.0-only */
/* Signals: who sends them, which thread takes them, and which of them is a death. */
#include "common.bpf.h"
#include "death.bpf.h"

/* include/linux/signal.h: bit N-1 is signal N. */
#define BIT_OF(sig) (1ULL << ((sig)-1))
#define CORE_SIGNALS                                                                          \
	(BIT_OF(3) | BIT_OF(4) | BIT_OF(5) | BIT_OF(6) | BIT_OF(7) | BIT_OF(8) | BIT_OF(11) | \
		BIT_OF(24) | BIT_OF(25) | BIT_OF(31))
#define HARMLESS_SIGNALS                                                               \
	(BIT_OF(17) | BIT_OF(18) | BIT_OF(19) | BIT_OF(20) | BIT_OF(21) | BIT_OF(22) | \
		BIT_OF(23) | BIT_OF(28))

#define SIG_IGN		  1
#define SIGNAL_UNKILLABLE 0x40 /* include/linux/sched/signal.h: the init of a PID namespace */
#define SEND_SIG_NOINFO	  0    /* pseudo siginfo pointers: 0 from user space, 1 from the kernel */
#define SEND_SIG_PRIV	  1

#define SI_USER	 0 /* include/uapi/asm-generic/siginfo.h: what processes send */
#define SI_QUEUE -1
#define SI_TKILL -6

#define SIGNAL_DELIVERED 0 /* include/trace/events/signal.h: what came of a signal */
#define SIGNAL_LOSE_INFO 4 /* delivered, though there was no memory for its siginfo */

struct first_chance_rate {
	__u64 window_start_ns;
	__u64 count;
};

/* LRU: a process that raises no more signals needs no entry. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct first_chance_rate);
} first_chance_rates SEC(".maps");

static __always_inline bool within_rate(__u32 tgid)
{
	struct first_chance_rate *rate = bpf_map_lookup_elem(&first_chance_rates, &tgid),
				 fresh = {};
	__u64 now = bpf_ktime_get_boot_ns();

	if (!rate || now - rate->window_start_ns > 1000000000ULL) {
		fresh.window_start_ns = now;
		fresh.count = 1;
		bpf_map_update_elem(&first_chance_rates, &tgid, &fresh, BPF_ANY);
		return true;
	}
	/* Two threads may both see the last free place; an exact count would need an atomic
	 * that 5.10 does not have. */
	if (rate->count < config.first_chance_rate) {
		__sync_fetch_and_add(&rate->count, 1);
		return true;
	}
	count_loss(CT_LOSS_RATE_LIMITED);
	return false;
}

/* A handler takes the signal: the process lives on, for now. */
static __always_inline void first_chance(
	void *ctx, struct task_struct *task, int sig, struct kernel_siginfo *info)
{
	__u32 tid = BPF_CORE_READ(task, pid), tgid = BPF_CORE_READ(task, tgid);
	struct fault fault = {.time_ns = bpf_ktime_get_boot_ns()};
	struct ct_signal *event;

	if (is_fault_signal(sig) && BPF_CORE_READ(info, si_code) > 0 &&
		BPF_CORE_READ(info, si_code) != SI_KERNEL) {
		fault.address = (__u64)BPF_CORE_READ(info, _sifields._sigfault._addr);
		read_trap(task, &fault.trap, &fault.error_code);
		bpf_map_update_elem(&faults, &tid, &fault, BPF_ANY);
	}
	if (!(config.first_chance_mask & BIT_OF(sig)) || !within_rate(tgid))
		return;
	event = reserve(&events, CT_FIRST_CHANCE, sizeof(*event), CT_LOSS_EVENT_RING_FULL);
	if (!event)
		return;
	fill_signal(event, ctx, task, sig, info, 0);
	bpf_ringbuf_submit(event, 0);
}

/* Every thread of a process that ends is shown a SIGKILL, whatever ended it; the true signal is in
 * group_exit_code, and 0 there means exit_group or another thread's exec. */
static __always_inline void killed(void *ctx, struct task_struct *task)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	int sig = BPF_CORE_READ(signal, group_exit_code) & 0x7f;

	if (!(BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT) || sig == 0 || sig > 64)
		return;
	/* A core signal: the thread that took it has reported it, or (seccomp before 5.16) the exit
	 * will. */
	if (CORE_SIGNALS & BIT_OF(sig))
		return;
	if (claim(task, CLAIM_DEATH))
		emit_death(ctx, task, sig, NULL, 0);
}

SEC("?tp_btf/signal_deliver")
int BPF_PROG(signal_deliver, int sig, struct kernel_siginfo *info, struct k_sigaction *ka)
{
	struct task_struct *task = current_task();
	unsigned long handler;

	if (sig < 1 || sig > 64 || !is_watched(task))
		return 0;
	if (sig == SIGKILL) {
		killed(ctx, task);
		return 0;
	}
	handler = (unsigned long)BPF_CORE_READ(ka, sa.sa_handler);
	if (handler == SIG_IGN || (handler == 0 && (HARMLESS_SIGNALS & BIT_OF(sig))))
		return 0;
	if (handler) {
		first_chance(ctx, task, sig, info);
		return 0;
	}
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_UNKILLABLE)
		return 0;
	if (claim(task, CLAIM_DEATH))
		emit_death(ctx, task, sig, info, CORE_SIGNALS & BIT_OF(sig) ? CT_CORE : 0);
	return 0;
}

/* Whether the current process sent it. Of a fault, a timer, or I/O that is ready, whoever happens
 * to run knows nothing. */
static __always_inline bool is_sent(struct kernel_siginfo *info)
{
	int code;

	if ((unsigned long)info <= SEND_SIG_PRIV)
		return (unsigned long)info == SEND_SIG_NOINFO;
	code = BPF_CORE_READ(info, si_code);
	return code == SI_USER || code == SI_QUEUE || code == SI_TKILL;
}

SEC("?tp_btf/signal_generate")
int BPF_PROG(signal_generate, int sig, struct kernel_siginfo *info, struct task_struct *target,
	int group, int result)
{
	struct sender_key key = {.signal = sig};
	struct ct_sender sender = {.valid = 1};
	struct task_struct *task;
	__u64 id;

	if (sig < 1 || sig > 64 || (HARMLESS_SIGNALS & BIT_OF(sig)) || !is_watched(target))
		return 0;
	/* Of several that send the same signal, the first one's is taken. */
	if (result != SIGNAL_DELIVERED && result != SIGNAL_LOSE_INFO)
		return 0;
	key.tgid = BPF_CORE_READ(target, tgid);
	key.start_ns = BPF_CORE_READ(target, group_leader, start_boottime);
	if (!is_sent(info)) {
		bpf_map_delete_elem(&senders, &key); /* of one that a handler took */
		return 0;
	}
	task = current_task();
	id = bpf_get_current_pid_tgid();
	sender.tgid = id >> 32;
	sender.tid = (__u32)id;
	sender.uid = BPF_CORE_READ(task, cred, euid.val);
	bpf_get_current_comm(sender.comm, sizeof(sender.comm));
	bpf_map_update_elem(&senders, &key, &sender, BPF_ANY);
	return 0;
}

static __always_inline void oom_victim(__u32 pid)
{
	__u64 now = bpf_ktime_get_boot_ns();

	bpf_map_update_elem(&oom_victims, &pid, &now, BPF_ANY);
}

/* The tracepoint's argument was the victim's id, and is its task since 6.9: user space turns on the
 * one that fits. */
SEC("?tp_btf/mark_victim")
int BPF_PROG(oom_victim_task, struct task_struct *task)
{
	oom_victim(BPF_CORE_READ(task, tgid));
	return 0;
}

SEC("?tp_btf/mark_victim")
int BPF_PROG(oom_victim_pid, int pid)
{
	oom_victim(pid);
	return 0;
}
