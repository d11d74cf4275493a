/* SPDX-License-Identifier: MIT */
#include "probe/decode.h"

#include <abi.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/cleanup.h"

/* Page-fault error code of x86 (arch/x86/include/asm/trap_pf.h). */
#define TRAP_PAGE_FAULT 14
#define PF_PROTECTION	(1 << 0)
#define PF_WRITE	(1 << 1)
#define PF_INSTRUCTION	(1 << 4)

void event_free(struct event *e)
{
	if (!e)
		return;
	free(e->signal.stack);
	free(e->filename);
	free(e->arguments);
	free(e);
}

static void copy_name(char *out, size_t out_size, const char *in, size_t in_size)
{
	size_t n = strnlen(in, in_size < out_size ? in_size : out_size - 1);

	memcpy(out, in, n);
	out[n] = '\0';
}

static void decode_process(const struct ct_process *in, struct event_process *out)
{
	out->pid = (pid_t)in->tgid;
	out->tid = (pid_t)in->tid;
	out->ppid = (pid_t)in->ppid;
	out->ns_pid = (pid_t)in->ns_tgid;
	out->ns_tid = (pid_t)in->ns_tid;
	out->uid = in->uid;
	out->gid = in->gid;
	out->tree_root = (pid_t)in->tree_root;
	out->start_ns = in->start_ns;
	out->start_ticks = in->start_ns / NSEC_PER_TICK;
	out->exec_id = in->exec_id;
	out->cgroup_id = in->cgroup_id;
	copy_name(out->comm, sizeof(out->comm), in->comm, sizeof(in->comm));
	copy_name(out->thread_comm, sizeof(out->thread_comm), in->thread_comm,
		sizeof(in->thread_comm));
	copy_name(out->exe, sizeof(out->exe), in->exe, sizeof(in->exe));
}

static void decode_fault(const struct ct_signal *in, struct event_signal *out)
{
	out->has_fault = in->flags & CT_HAS_FAULT;
	out->earlier_fault = in->flags & CT_EARLIER_FAULT;
	out->address = in->fault_address;
	out->trap = in->trap;
	out->error_code = in->error_code;
	if (!out->has_fault || out->trap != TRAP_PAGE_FAULT)
		return;
	out->mapped = out->error_code & PF_PROTECTION;
	out->access = out->error_code & PF_INSTRUCTION ? ACCESS_EXECUTE
		      : out->error_code & PF_WRITE     ? ACCESS_WRITE
						       : ACCESS_READ;
}

/* struct ct_signal's registers are the kernel's struct pt_regs, with which user_regs_struct begins.
 */
static void decode_registers(const struct ct_signal *in, pid_t tid, struct thread_registers *out)
{
	_Static_assert(sizeof(in->registers) <= sizeof(out->regs),
		"pt_regs is a prefix of user_regs_struct");
	out->tid = tid;
	memcpy(&out->regs, in->registers, sizeof(in->registers));
	out->regs.cs &= 0xffff; /* since 6.9 the kernel keeps flags above the selectors */
	out->regs.ss &= 0xffff;
}

static int copy_arguments(const char *in, size_t room, size_t size, struct event *e)
{
	if (size > room)
		return -EBADMSG;
	if (size == 0)
		return 0;
	e->arguments = malloc(size + 1);
	if (!e->arguments)
		return -ENOMEM;
	memcpy(e->arguments, in, size);
	e->arguments[size] = '\0';
	e->arguments_size = size;
	return 0;
}

static int decode_signal(const struct ct_signal *in, struct event *e)
{
	struct event_signal *out = &e->signal;

	if (in->signal < 1 || in->signal > 64)
		return -EBADMSG;
	decode_process(&in->process, &e->process);
	out->number = (int)in->signal;
	out->code = in->code;
	out->dumps_core = in->flags & CT_CORE;
	out->oom = in->flags & CT_OOM;
	out->not_dumpable = in->flags & CT_NOT_DUMPABLE;
	decode_fault(in, out);
	out->core_soft = in->core_limit_soft;
	out->core_hard = in->core_limit_hard;
	out->ip = in->ip;
	out->has_build_id = in->flags & CT_HAS_BUILD_ID;
	memcpy(out->build_id, in->build_id, sizeof(out->build_id));
	out->build_id_offset = in->build_id_offset;
	out->has_sender = in->sender.valid;
	out->sender_pid = (pid_t)in->sender.tgid;
	out->sender_tid = (pid_t)in->sender.tid;
	out->sender_uid = in->sender.uid;
	copy_name(out->sender_comm, sizeof(out->sender_comm), in->sender.comm,
		sizeof(in->sender.comm));
	out->has_registers = in->flags & CT_HAS_REGISTERS;
	if (out->has_registers)
		decode_registers(in, e->process.tid, &out->registers);
	return copy_arguments(in->arguments, sizeof(in->arguments), in->arguments_size, e);
}

static int decode_death(const struct ct_death *in, struct event *e)
{
	int r = decode_signal(&in->signal, e);

	if (r < 0)
		return r;
	if (in->stack_size > sizeof(in->stack))
		return -EBADMSG;
	if (in->stack_size == 0)
		return 0;
	e->signal.stack = malloc(in->stack_size);
	if (!e->signal.stack)
		return -ENOMEM;
	memcpy(e->signal.stack, in->stack, in->stack_size);
	e->signal.stack_size = in->stack_size;
	e->signal.stack_start = in->stack_start;
	return 0;
}

static int decode_exec(const struct ct_exec *in, struct event *e)
{
	decode_process(&in->process, &e->process);
	e->filename = strndup(in->filename, sizeof(in->filename));
	if (!e->filename)
		return -ENOMEM;
	return copy_arguments(in->arguments, sizeof(in->arguments), in->arguments_size, e);
}

static int decode_body(const struct ct_header *h, struct event *e)
{
	static const struct {
		enum event_kind kind;
		size_t size;
	} kinds[] = {
		[CT_DEATH] = {EVENT_DEATH, sizeof(struct ct_death)},
		[CT_FIRST_CHANCE] = {EVENT_FIRST_CHANCE, sizeof(struct ct_signal)},
		[CT_EXIT] = {EVENT_EXIT, sizeof(struct ct_exit)},
		[CT_EXEC] = {EVENT_EXEC, sizeof(struct ct_exec)},
		[CT_FORK] = {EVENT_FORK, sizeof(struct ct_fork)},
	};

	if (h->kind >= ARRAY_SIZE(kinds) || kinds[h->kind].size == 0 ||
		kinds[h->kind].size != h->size)
		return -EBADMSG;
	e->kind = kinds[h->kind].kind;
	switch (e->kind) {
	case EVENT_DEATH:
		return decode_death((const struct ct_death *)h, e);
	case EVENT_FIRST_CHANCE:
		return decode_signal((const struct ct_signal *)h, e);
	case EVENT_EXIT:
		decode_process(&((const struct ct_exit *)h)->process, &e->process);
		e->exit_code = (int)((const struct ct_exit *)h)->code;
		return 0;
	case EVENT_EXEC:
		return decode_exec((const struct ct_exec *)h, e);
	case EVENT_FORK:
		decode_process(&((const struct ct_fork *)h)->process, &e->process);
		return 0;
	}
	return -EBADMSG;
}

int decode_record(const void *record, size_t size, int64_t boot_to_real_ns, struct event **out)
{
	_cleanup_event_ struct event *e = NULL;
	const struct ct_header *h = record;
	int r;

	if (size < sizeof(*h) || h->size > size)
		return -EBADMSG;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->time_ns = h->time_ns + (uint64_t)boot_to_real_ns;
	r = decode_body(h, e);
	if (r < 0)
		return r;
	*out = TAKE_PTR(e);
	return 0;
}
