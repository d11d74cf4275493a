/* SPDX-License-Identifier: GPL-2.0-only */
/* Maps, the one way to emit a record, and what every program asks first: is this process watched?
 */
#ifndef CORETRAP_COMMON_BPF_H
#define CORETRAP_COMMON_BPF_H

#include "vmlinux.h"

#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "abi.h"

#define PF_KTHREAD    0x00200000 /* include/linux/sched.h */
#define NSEC_PER_TICK 10000000	 /* 1 s / USER_HZ */

/* Deaths have a ring of their own, so that a storm of execs cannot push one out: 900 records with
 * their stacks. User space may resize both before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} deaths __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events __weak SEC(".maps");

/* A hash, not task storage: 5.10 has none, and a mark must be there before the process is seen. An
 * entry goes with its process; one that finds no room leaves the process unmarked, which reports
 * more, never less. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct ct_mark);
} marks __weak SEC(".maps");

/* Where the marks are asked for each message of every socket, this answers most of the times: an
 * array is looked up without a call. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CT_MARK_HINTS);
	__type(key, __u32);
	__type(value, __u64);
} mark_hints __weak SEC(".maps");

/* Which deaths were reported: the insert that succeeds is the one record. Freed with the process,
 * so a zombie keeps its entry and cannot be reported twice. */
struct death_key {
	__u64 start_ns;
	__u32 tgid;
	__u32 what; /* enum claim */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct death_key);
	__type(value, __u64);
} reported __weak SEC(".maps");

/* Per CPU, because a counter shared by all would be a cache line fought over in a storm. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CT_LOSS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2); /* by ring: enum ct_loss says which */
	__type(key, __u32);
	__type(value, __u64);
} sequences __weak SEC(".maps");

extern const volatile struct ct_config config;

static __always_inline void count_loss(enum ct_loss reason)
{
	__u32 key = reason;
	__u64 *n = bpf_map_lookup_elem(&counters, &key);

	if (n)
		(*n)++; /* this CPU's own; an interrupting program may rarely swallow a count, never
			   add one */
}

/* Room for one record, its header set; counts the loss if there is none. */
static __always_inline void *reserve(void *ring, __u32 kind, __u32 size, enum ct_loss reason)
{
	__u32 which = reason;
	__u64 *sequence = bpf_map_lookup_elem(&sequences, &which);
	__u64 number = sequence ? ++*sequence : 0;
	struct ct_header *h = bpf_ringbuf_reserve(ring, size, 0);

	if (!h) {
		count_loss(reason);
		return NULL;
	}
	h->kind = kind;
	h->size = size;
	h->sequence = number;
	h->time_ns = bpf_ktime_get_boot_ns();
	h->cpu = bpf_get_smp_processor_id();
	h->padding = 0;
	return h;
}

static __always_inline struct task_struct *current_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

static __always_inline bool is_kernel_thread(struct task_struct *task)
{
	return BPF_CORE_READ(task, flags) & PF_KTHREAD;
}

/* MARK was made for a process that began then, and for its image unless it is sticky. */
static __always_inline bool mark_holds(const struct ct_mark *mark, __u64 start_ns, __u64 exec_id)
{
	return mark->start_ticks == start_ns / NSEC_PER_TICK &&
	       (mark->flags & CT_MARK_STICKY || mark->exec_id == exec_id);
}

/* The mark that holds for the process of TASK, or NULL. */
static __always_inline struct ct_mark *mark_of(struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct ct_mark *mark = bpf_map_lookup_elem(&marks, &tgid);

	if (!mark || !mark_holds(mark, BPF_CORE_READ(task, group_leader, start_boottime),
			     BPF_CORE_READ(task, group_leader, self_exec_id)))
		return NULL;
	return mark;
}

static __always_inline __u64 *mark_hint(__u32 tgid)
{
	__u32 key = tgid & (CT_MARK_HINTS - 1);

	return bpf_map_lookup_elem(&mark_hints, &key);
}

static __always_inline bool is_watched(struct task_struct *task)
{
	struct ct_mark *mark = mark_of(task);

	return mark ? mark->flags & CT_MARK_WATCHED : config.watch_unmarked;
}

/* Id of a struct pid in the namespace it was made in. */
static __always_inline __u32 own_namespace_id(struct pid *pid)
{
	__u32 level = BPF_CORE_READ(pid, level);
	void *numbers = __builtin_preserve_access_index(&pid->numbers);
	struct upid *upid = numbers + level * bpf_core_type_size(struct upid);

	return BPF_CORE_READ(upid, nr);
}

static __always_inline void fill_process(struct ct_process *p, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct ct_mark *mark = mark_of(task);
	const void *name;

	p->tgid = BPF_CORE_READ(task, tgid);
	p->tid = BPF_CORE_READ(task, pid);
	p->ppid = BPF_CORE_READ(task, real_parent, tgid);
	p->ns_tgid = own_namespace_id(BPF_CORE_READ(leader, thread_pid));
	p->ns_tid = own_namespace_id(BPF_CORE_READ(task, thread_pid));
	p->uid = BPF_CORE_READ(task, cred, euid.val);
	p->gid = BPF_CORE_READ(task, cred, egid.val);
	p->tree_root = mark ? mark->tree_root : 0;
	p->start_ns = BPF_CORE_READ(leader, start_boottime);
	p->exec_id = BPF_CORE_READ(leader, self_exec_id);
	p->cgroup_id = bpf_get_current_cgroup_id();
	bpf_probe_read_kernel(p->comm, sizeof(p->comm), &leader->comm);
	bpf_probe_read_kernel(p->thread_comm, sizeof(p->thread_comm), &task->comm);
	name = BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);
	if (!name || bpf_probe_read_kernel_str(p->exe, sizeof(p->exe), name) < 0)
		p->exe[0] = '\0';
}

/* Copies the head of the argument area; pages that are not resident cannot be read here. */
static __always_inline __u32 fill_arguments(char *out, struct task_struct *task)
{
	__u64 start = BPF_CORE_READ(task, mm, arg_start);
	__u64 end = BPF_CORE_READ(task, mm, arg_end);
	__u64 size = end - start;

	if (!start || end <= start)
		return 0;
	if (size > CT_ARGUMENTS_SIZE)
		size = CT_ARGUMENTS_SIZE;
	if (bpf_probe_read_user(out, size, (void *)start))
		return 0;
	return size;
}

#endif
