/* SPDX-License-Identifier: GPL-2.0-only */
/* What the watched processes use, asked for by user space once an interval: an iterator over all
 * tasks, and nothing in the way of a context switch. The iterator goes by thread id, so the threads
 * of a process come at different moments and some end in between; therefore its leader, which stays
 * until the last thread has ended, walks all of them at once. */
#include "vmlinux.h"

#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "abi.h"

#define NSEC_PER_TICK 10000000 /* 1 s / USER_HZ */
/* The verifier walks a loop as often as it may run. User space asks /proc about larger processes.
 */
#define THREADS_MAX 256

char LICENSE[] SEC("license") = "GPL";

/* By tgid, so that a task which is not watched costs one look. Its memory is taken as processes
 * come. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct ct_watch);
} watched SEC(".maps");

/* Which process `threads` is asked for; user space writes it before each pass. */
__u32 threads_tgid;
__u64 threads_start_ticks;

/* Linux 6.2 made of each counter a sum and a share for each CPU. */
typedef struct {
	__s64 counter;
} atomic64_t;

struct mm_rss_stat___atomic {
	atomic64_t count[CT_PAGES_KINDS];
} __attribute__((preserve_access_index));

struct mm_struct___atomic {
	struct mm_rss_stat___atomic rss_stat;
} __attribute__((preserve_access_index));

/* Something of ours that each CPU has: it tells where the memory of a CPU lies. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} place SEC(".maps");

struct totals {
	__u64 cpu_ns;
	struct mm_struct *mm;
	struct task_struct *owner; /* of the mm */
};

/* The mm of the first thread that still has one: a leader may have ended before the others. False:
 * there are more threads than may be walked. */
static __always_inline bool add_threads(struct signal_struct *signal, struct totals *t)
{
	const __u64 node = bpf_core_field_offset(struct task_struct, thread_node);
	void *head = __builtin_preserve_access_index(&signal->thread_head);
	void *next = BPF_CORE_READ(signal, thread_head.next);

	for (__u32 i = 0; i < THREADS_MAX && next != head; i++) {
		struct task_struct *thread = next - node;

		t->cpu_ns += BPF_CORE_READ(thread, se.sum_exec_runtime);
		if (!t->mm) {
			t->owner = thread;
			t->mm = BPF_CORE_READ(thread, mm);
		}
		next = BPF_CORE_READ(thread, thread_node.next);
	}
	return next == head;
}

enum look {
	CHANGED = 1 << 0, /* a thread ended meanwhile */
	CUT = 1 << 1,	  /* more threads than may be walked */
};

/* A function, not inlined: 5.10 refuses the jumps that clang else makes of the loop. */
static __noinline int look(struct signal_struct *signal, struct totals *t)
{
	__u32 before = BPF_CORE_READ(signal, stats_lock.seqcount.seqcount.sequence);
	int seen;

	t->cpu_ns = BPF_CORE_READ(signal, sum_sched_runtime);
	seen = add_threads(signal, t) ? 0 : CUT;
	if (before & 1 || before != BPF_CORE_READ(signal, stats_lock.seqcount.seqcount.sequence))
		seen |= CHANGED;
	return seen;
}

/* A thread that ends moves its time into the sum of the dead and leaves the list, both under
 * stats_lock: what was read while that went on is read again, else it would count twice or not at
 * all. */
static __always_inline bool add_all(struct signal_struct *signal, struct totals *t)
{
	int seen = look(signal, t);

	if (seen & CHANGED)
		seen = look(signal, t);
	if (seen & CHANGED)
		seen = look(signal, t);
	return !(seen & CUT);
}

/* The verifier does no arithmetic with most pointers: read as memory, an address is a number. */
static __always_inline __u64 number(const void *pointer)
{
	__u64 n = 0;

	bpf_probe_read_kernel(&n, sizeof(n), &pointer);
	return n;
}

/* How far the first CPU's memory lies from what pointers to all CPUs' hold. */
static __always_inline __u64 first_offset(const void *first)
{
	struct bpf_array *array = (void *)number(&place);

	return number(first) - (__u64)BPF_CORE_READ(array, pptrs[0]);
}

static __always_inline struct percpu_counter *counter_of(struct mm_struct *mm, int kind)
{
	void *counters = __builtin_preserve_access_index(&mm->rss_stat);

	/* The step is that of the running kernel. */
	return counters + kind * bpf_core_type_size(struct percpu_counter);
}

/* The shares of the CPUs, up to max(32, 2 * CPUs) pages each: added up for what has run or changed
 * since the last pass; for the others they are what they were, but for pages that were taken from
 * an idle process and are fewer than that. */
static __always_inline void add_drift(struct mm_struct *mm, __s64 drift[CT_PAGES_KINDS])
{
	__u32 key = 0;
	const void *first = bpf_map_lookup_percpu_elem(&place, &key, 0);
	__u64 counters[CT_PAGES_KINDS], offset;

	if (!first)
		return;
	offset = first_offset(first);

#pragma unroll
	for (int kind = 0; kind < CT_PAGES_KINDS; kind++) {
		counters[kind] = (__u64)BPF_CORE_READ(counter_of(mm, kind), counters) + offset;
		drift[kind] = 0;
	}
	for (__u32 cpu = 0; cpu < CT_CPUS_MAX; cpu++) {
		const void *own = bpf_map_lookup_percpu_elem(&place, &key, cpu);

		if (!own)
			break;
#pragma unroll
		for (int kind = 0; kind < CT_PAGES_KINDS; kind++) {
			__s32 share = 0;

			bpf_probe_read_kernel(
				&share, sizeof(share), (void *)(counters[kind] + (own - first)));
			drift[kind] += share;
		}
	}
}

static __always_inline void add_percpu(
	struct mm_struct *mm, struct ct_watch *watch, bool ran, __s64 pages[CT_PAGES_KINDS])
{
	bool changed = ran;

#pragma unroll
	for (int kind = 0; kind < CT_PAGES_KINDS; kind++) {
		__s64 shared = BPF_CORE_READ(counter_of(mm, kind), count);

		changed |= shared != watch->shared[kind];
		watch->shared[kind] = shared;
	}
	if (changed)
		add_drift(mm, watch->drift);
#pragma unroll
	for (int kind = 0; kind < CT_PAGES_KINDS; kind++)
		pages[kind] = watch->shared[kind] + watch->drift[kind];
}

static __always_inline void read_pages(
	const struct totals *t, struct ct_watch *watch, struct ct_sample *s)
{
	const struct mm_struct___atomic *mm = (void *)t->mm;
	struct task_struct *owner = t->owner;
	bool ran = t->cpu_ns != watch->cpu_ns || !watch->cpu_ns;

	if (!mm)
		return;
	if (bpf_core_field_exists(struct mm_struct___atomic, rss_stat.count))
		bpf_core_read(s->pages, sizeof(s->pages), &mm->rss_stat.count);
	else
		add_percpu(t->mm, watch, ran, s->pages);
	/* A thread that ended meanwhile may have taken the mm with it, and what was read is
	 * somebody else's. */
	if (BPF_CORE_READ(owner, mm) != t->mm)
		__builtin_memset(s->pages, 0, sizeof(s->pages));
}

SEC("?iter/task")
int sample_processes(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct signal_struct *signal;
	struct ct_sample s = {};
	struct totals t = {};
	struct ct_watch *watch;

	if (!task || task->pid != task->tgid)
		return 0;
	s.tgid = task->tgid;
	watch = bpf_map_lookup_elem(&watched, &s.tgid);
	if (!watch || watch->start_ticks != task->start_boottime / NSEC_PER_TICK)
		return 0;
	signal = task->signal;
	if (signal->live.counter == 0)
		return 0;
	s.start_ticks = watch->start_ticks;
	s.time_ns = bpf_ktime_get_boot_ns();
	s.threads = signal->nr_threads;
	if (!add_all(signal, &t))
		s.flags |= CT_SAMPLE_CUT;
	read_pages(&t, watch, &s);
	/* A pass that met a thread in the middle of its end each time it looked must not go back.
	 */
	s.cpu_ns = t.cpu_ns > watch->cpu_ns ? t.cpu_ns : watch->cpu_ns;
	watch->cpu_ns = s.cpu_ns;
	bpf_seq_write(ctx->meta->seq, &s, sizeof(s));
	return 0;
}

SEC("?iter/task")
int sample_threads(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct ct_thread t = {};

	if (!task || (__u32)task->tgid != threads_tgid ||
		task->group_leader->start_boottime / NSEC_PER_TICK != threads_start_ticks)
		return 0;
	t.tid = task->pid;
	t.time_ns = bpf_ktime_get_boot_ns();
	t.cpu_ns = task->se.sum_exec_runtime;
	bpf_probe_read_kernel(t.comm, sizeof(t.comm), task->comm);
	bpf_seq_write(ctx->meta->seq, &t, sizeof(t));
	return 0;
}
