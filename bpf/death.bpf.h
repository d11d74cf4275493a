/* SPDX-License-Identifier: GPL-2.0-only */
/* The record of a signal: who, what, where, by whom, with the evidence that is gone a moment later.
 */
#ifndef CORETRAP_DEATH_BPF_H
#define CORETRAP_DEATH_BPF_H

#include "arch.bpf.h"
#include "common.bpf.h"

#define SIGILL	4
#define SIGTRAP 5
#define SIGBUS	7
#define SIGFPE	8
#define SIGKILL 9
#define SIGSEGV 11

#define SI_KERNEL	  0x80 /* include/uapi/asm-generic/siginfo.h */
#define SIGNAL_GROUP_EXIT 0x4  /* include/linux/sched/signal.h */
#define RLIMIT_CORE	  4
#define MMF_DUMPABLE_MASK 3 /* include/linux/mm_types.h; 0: SUID_DUMP_DISABLE */

#define EARLIER_FAULT_NS \
	100000000ULL /* a failed handler frame follows its fault within microseconds */

struct sender_key {
	__u64 start_ns; /* of the target's leader: ids are used again */
	__u32 tgid;	/* the target's */
	__u32 signal;
};

/* Who sent a signal that is still on its way: LRU, since most are never asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct sender_key);
	__type(value, struct ct_sender);
} senders __weak SEC(".maps");

struct fault {
	__u64 time_ns;
	__u64 address, trap, error_code;
};

/* The last fault of a thread that a handler was to take: a stack overflow shows as this, then as
 * SI_KERNEL without an address, because the handler's frame did not fit. LRU: it is only of
 * interest for microseconds. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct fault);
} faults __weak SEC(".maps");

/* Processes the OOM killer has chosen. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} oom_victims __weak SEC(".maps");

enum claim {
	CLAIM_DEATH,
	CLAIM_EXIT,
};

/* True for the first caller of a process and kind. A full table claims too: two records are better
 * than none. */
static __always_inline bool claim(struct task_struct *task, enum claim what)
{
	struct death_key key = {
		.tgid = BPF_CORE_READ(task, tgid),
		.what = what,
		.start_ns = BPF_CORE_READ(task, group_leader, start_boottime),
	};
	__u64 now = bpf_ktime_get_boot_ns();

	if (bpf_map_update_elem(&reported, &key, &now, BPF_NOEXIST) == 0)
		return true;
	if (bpf_map_lookup_elem(&reported, &key))
		return false;
	count_loss(CT_LOSS_DEATH_TABLE_FULL);
	return true;
}

static __always_inline bool is_fault_signal(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGTRAP;
}

static __always_inline void fill_fault(
	struct ct_signal *s, struct task_struct *task, struct kernel_siginfo *info)
{
	__u32 tid = BPF_CORE_READ(task, pid);
	struct fault *earlier;

	if (!info || s->code <= 0 || !is_fault_signal(s->signal))
		return; /* trap_nr and error_code would be those of some fault long ago */
	read_trap(task, &s->trap, &s->error_code);
	s->flags |= CT_HAS_FAULT;
	if (s->code != SI_KERNEL) {
		s->fault_address = (__u64)BPF_CORE_READ(info, _sifields._sigfault._addr);
		return;
	}
	earlier = bpf_map_lookup_elem(&faults, &tid);
	if (!earlier || s->header.time_ns - earlier->time_ns > EARLIER_FAULT_NS)
		return;
	/* A fault of another kind since then, such as a general protection fault, is one of its
	 * own. */
	if (s->trap != earlier->trap || s->error_code != earlier->error_code)
		return;
	s->fault_address = earlier->address;
	s->flags |= CT_EARLIER_FAULT;
}

static __always_inline void fill_sender(struct ct_signal *s, struct kernel_siginfo *info)
{
	struct sender_key key = {
		.start_ns = s->process.start_ns, .tgid = s->process.tgid, .signal = s->signal};
	struct ct_sender *sender = bpf_map_lookup_elem(&senders, &key);

	__builtin_memset(&s->sender, 0, sizeof(s->sender));
	if (!sender || (info && s->code > 0))
		return; /* the kernel raised this one; the entry is of an earlier signal */
	s->sender = *sender;
	bpf_map_delete_elem(&senders, &key);
}

static __always_inline void fill_code_place(
	struct ct_signal *s, void *ctx, struct task_struct *task)
{
	struct bpf_stack_build_id place = {};
	struct pt_regs *regs = user_registers(task);

	__builtin_memset(s->build_id, 0, sizeof(s->build_id));
	__builtin_memset(s->registers, 0, sizeof(s->registers));
	s->build_id_offset = 0;
	s->ip = 0;
	if (!BPF_CORE_READ(task, mm))
		return;
	if (bpf_probe_read_kernel(s->registers, sizeof(s->registers), regs) == 0) {
		s->flags |= CT_HAS_REGISTERS;
		s->ip = BPF_CORE_READ(regs, ip);
	}
	if (bpf_get_stack(ctx, &place, sizeof(place), BPF_F_USER_STACK | BPF_F_USER_BUILD_ID) > 0 &&
		place.status == BPF_STACK_BUILD_ID_VALID) {
		__builtin_memcpy(s->build_id, place.build_id, sizeof(s->build_id));
		s->build_id_offset = place.offset;
		s->flags |= CT_HAS_BUILD_ID;
	}
}

/* mm->flags is a word, and since 6.18 a bitmap in a struct. */
struct mm_flags___bitmap {
	unsigned long __mm_flags[1];
} __attribute__((preserve_access_index));

struct mm_struct___bitmap {
	struct mm_flags___bitmap flags;
} __attribute__((preserve_access_index));

struct mm_struct___word {
	unsigned long flags;
} __attribute__((preserve_access_index));

static __always_inline bool is_dumpable(struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	unsigned long flags = 1;

	/* Up to 6.15 the exit is shown when the memory is gone: nothing is known then. */
	if (!mm)
		return true;
	if (bpf_core_field_exists(struct mm_struct___word, flags))
		flags = BPF_CORE_READ((struct mm_struct___word *)mm, flags);
	else if (bpf_core_field_exists(struct mm_struct___bitmap, flags))
		flags = BPF_CORE_READ((struct mm_struct___bitmap *)mm, flags.__mm_flags[0]);
	return flags & MMF_DUMPABLE_MASK;
}

static __always_inline void fill_signal(struct ct_signal *s, void *ctx, struct task_struct *task,
	int sig, struct kernel_siginfo *info, __u32 flags)
{
	__u32 tgid = BPF_CORE_READ(task, tgid); /* a key must be on the stack before 5.17 */
	__u64 *oom_ns = bpf_map_lookup_elem(&oom_victims, &tgid);
	struct rlimit limit = {};

	fill_process(&s->process, task);
	s->signal = sig;
	s->code = info ? BPF_CORE_READ(info, si_code) : 0;
	s->flags = flags;
	s->fault_address = s->trap = s->error_code = 0;
	s->padding = 0;
	if (oom_ns && *oom_ns >= s->process.start_ns) /* else it was an earlier process' id */
		s->flags |= CT_OOM;
	if (!is_dumpable(task))
		s->flags |= CT_NOT_DUMPABLE;
	BPF_CORE_READ_INTO(&limit, task, signal, rlim[RLIMIT_CORE]);
	s->core_limit_soft = limit.rlim_cur;
	s->core_limit_hard = limit.rlim_max;
	fill_fault(s, task, info);
	fill_sender(s, info);
	fill_code_place(s, ctx, task);
	s->arguments_size = fill_arguments(s->arguments, task);
}

/* The stack from the red zone up, as far as it is resident: reads in slices, so that one absent
 * page costs a slice. */
static __always_inline void fill_stack(struct ct_death *d)
{
	const __u32 slice = 1024;
	__u64 start = d->signal.flags & CT_HAS_REGISTERS
			      ? d->signal.registers[REGISTER_SP] - RED_ZONE
			      : 0;
	__u32 size = 0;

	d->stack_start = start;
	d->padding = 0;
	for (__u32 i = 0; start && i < CT_STACK_SIZE / slice; i++) {
		if (bpf_probe_read_user(d->stack + i * slice, slice, (void *)(start + i * slice)))
			break;
		size = (i + 1) * slice;
	}
	d->stack_size = size;
}

/* The one record of a death. CTX is the program's, TASK the dying thread, which is the current one.
 */
static __always_inline void emit_death(
	void *ctx, struct task_struct *task, int sig, struct kernel_siginfo *info, __u32 flags)
{
	struct ct_death *death;

	/* Nobody asked: the process' end, which is a small record, tells of it. */
	if (!(config.fatal_mask & (1ULL << (sig - 1))))
		return;
	death = reserve(&deaths, CT_DEATH, sizeof(*death), CT_LOSS_DEATH_RING_FULL);
	if (!death)
		return;
	fill_signal(&death->signal, ctx, task, sig, info, flags);
	fill_stack(death);
	bpf_ringbuf_submit(death, BPF_RB_FORCE_WAKEUP);
}

#endif
