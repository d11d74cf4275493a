/* SPDX-License-Identifier: GPL-2.0-only */
/* Birth, new image and end of processes: who is watched follows from these, so that nothing polls
 * /proc. */
#include "common.bpf.h"
#include "death.bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile struct ct_config config = {};

/* A copy of a process that was made for its capture: traced from birth, and its end is no signal to
 * anybody. It never runs, so nothing that it inherits may make a target of it, nor its SIGKILL a
 * death. */
static __always_inline bool is_snapshot(struct task_struct *child)
{
	return BPF_CORE_READ(child, exit_signal) == 0 && BPF_CORE_READ(child, ptrace) != 0;
}

static __always_inline void ignore_snapshot(struct task_struct *child, __u32 tgid)
{
	struct ct_mark ignored = {};

	ignored.start_ticks = BPF_CORE_READ(child, start_boottime) / NSEC_PER_TICK;
	ignored.exec_id = BPF_CORE_READ(child, self_exec_id);
	if (bpf_map_update_elem(&marks, &tgid, &ignored, BPF_ANY))
		count_loss(CT_LOSS_MARK_TABLE_FULL);
}

SEC("?tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct ct_mark *mark, inherited;
	struct ct_fork *event;
	__u32 tgid = BPF_CORE_READ(child, tgid);
	__u64 *hint;

	if (tgid == (__u32)BPF_CORE_READ(parent, tgid) || is_kernel_thread(child))
		return 0; /* a thread */
	if (is_snapshot(child)) {
		ignore_snapshot(child, tgid);
		return 0;
	}
	mark = mark_of(parent);
	if (!mark || !(mark->flags & CT_MARK_INHERIT))
		return 0;
	hint = mark_hint(tgid);
	if (hint)
		*hint = 1;
	inherited = *mark;
	inherited.start_ticks = BPF_CORE_READ(child, start_boottime) / NSEC_PER_TICK;
	inherited.exec_id = BPF_CORE_READ(child, self_exec_id);
	if (bpf_map_update_elem(&marks, &tgid, &inherited, BPF_ANY)) {
		count_loss(CT_LOSS_MARK_TABLE_FULL);
		return 0;
	}
	if (!(inherited.flags & CT_MARK_WATCHED))
		return 0;
	event = reserve(&events, CT_FORK, sizeof(*event), CT_LOSS_EVENT_RING_FULL);
	if (!event)
		return 0;
	fill_process(&event->process, child);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("?tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct ct_mark *mark = mark_of(task);
	struct ct_exec *event;

	if (mark ? !(mark->flags & CT_MARK_WATCHED) : !config.report_exec)
		return 0;
	event = reserve(&events, CT_EXEC, sizeof(*event), CT_LOSS_EVENT_RING_FULL);
	if (!event)
		return 0;
	fill_process(&event->process, task);
	if (bpf_probe_read_kernel_str(
		    event->filename, sizeof(event->filename), BPF_CORE_READ(bprm, filename)) < 0)
		event->filename[0] = '\0';
	event->arguments_size = fill_arguments(event->arguments, task);
	event->padding = 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* A process may rename itself after it was judged by its name. */
SEC("?tp_btf/task_rename")
int BPF_PROG(process_rename, struct task_struct *task)
{
	struct ct_mark *mark = mark_of(task);
	__u32 tgid = BPF_CORE_READ(task, tgid);

	if (mark && !(mark->flags & CT_MARK_STICKY) && tgid == (__u32)BPF_CORE_READ(task, pid))
		bpf_map_delete_elem(&marks, &tgid);
	return 0;
}

static __always_inline void emit_exit(
	struct task_struct *task, __u32 code, void *ring, enum ct_loss reason)
{
	struct ct_exit *event = reserve(ring, CT_EXIT, sizeof(*event), reason);

	if (!event)
		return;
	fill_process(&event->process, task);
	event->code = code;
	event->padding = 0;
	bpf_ringbuf_submit(event, 0);
}

/* Runs for every thread; the process ends with the one that leaves no other alive. Two threads that
 * end together may both see zero: the insert in `reported` decides. Deaths that no signal_deliver
 * showed are caught here. */
SEC("?tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	__u32 code, sig;

	if (BPF_CORE_READ(signal, live.counter) != 0 || is_kernel_thread(task) || !is_watched(task))
		return 0;
	/* Since 6.0 the last thread's exit sets the group's code; before, wait(2) tells the
	 * leader's. */
	code = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT
		       ? BPF_CORE_READ(signal, group_exit_code)
		       : BPF_CORE_READ(task, group_leader, exit_code);
	sig = code & 0x7f;
	if (sig && claim(task, CLAIM_DEATH))
		emit_death(ctx, task, sig, NULL, 0);
	if (!claim(task, CLAIM_EXIT))
		return 0;
	/* The end of a death that was reported settles what became of its core: as precious as the
	 * death. */
	if (sig)
		emit_exit(task, code, &deaths, CT_LOSS_DEATH_RING_FULL);
	/* Whose exec was told, and who ended before it got its mark, must not stay a target. */
	else if (mark_of(task) || config.report_exec)
		emit_exit(task, code, &events, CT_LOSS_EVENT_RING_FULL);
	return 0;
}

SEC("?tp_btf/sched_process_free")
int BPF_PROG(process_free, struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct death_key key = {
		.tgid = tgid, .what = CLAIM_DEATH, .start_ns = BPF_CORE_READ(task, start_boottime)};
	struct ct_mark *mark;

	if (tgid != (__u32)BPF_CORE_READ(task, pid))
		return 0;
	bpf_map_delete_elem(&reported, &key);
	key.what = CLAIM_EXIT;
	bpf_map_delete_elem(&reported, &key);
	mark = bpf_map_lookup_elem(&marks, &tgid);
	if (mark && mark->start_ticks ==
			    key.start_ns /
				    NSEC_PER_TICK) /* the id may belong to a new process already */
		bpf_map_delete_elem(&marks, &tgid);
	return 0;
}
