/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between architectures on the kernel side. */
#ifndef CORETRAP_ARCH_BPF_H
#define CORETRAP_ARCH_BPF_H

#include "common.bpf.h"

#include <stddef.h>

#if defined(__TARGET_ARCH_x86)

#define KERNEL_STACK_SIZE 16384 /* THREAD_SIZE without KASAN */
#define REGISTER_SP	  19	/* index of the stack pointer in struct pt_regs */
#define RED_ZONE	  128 /* bytes below the stack pointer that the ABI lets a leaf function use */

/* Kernels before 5.15 lack bpf_task_pt_regs(): there the user registers are at the top of the
 * kernel stack. */
static __always_inline struct pt_regs *user_registers(struct task_struct *current)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return (struct pt_regs *)(BPF_CORE_READ(current, stack) + KERNEL_STACK_SIZE) - 1;
}

#define PAGE_SIZE 4096

extern const void vmemmap_base __ksym __weak;
extern const void page_offset_base __ksym __weak;

/* Where the kernel has its struct pages, and where the first page's bytes. A kernel that does not
 * move them at boot may not name them either: then they are where they always are
 * (Documentation/arch/x86/x86_64/mm.rst, of four levels). */
static __always_inline void find_pages(__u64 *array, __u64 *bytes)
{
	*array = 0xffffea0000000000;
	*bytes = 0xffff888000000000;
	if (&vmemmap_base && &page_offset_base) {
		bpf_probe_read_kernel(array, sizeof(*array), &vmemmap_base);
		bpf_probe_read_kernel(bytes, sizeof(*bytes), &page_offset_base);
	}
}

/* Numbers of the calls that move bytes through a socket. */
#define CALL_READ     0
#define CALL_WRITE    1
#define CALL_READV    19
#define CALL_WRITEV   20
#define CALL_SENDTO   44
#define CALL_RECVFROM 45
#define CALL_SENDMSG  46
#define CALL_RECVMSG  47

#define USER_CS 0x33 /* of 64-bit code: a 32-bit program numbers its calls otherwise */

struct call {
	__u64 second; /* argument */
	__u64 number;
};

/* The system call that the current thread is in; false: a 32-bit program's. Where the registers
 * come typed they are read without a call: every read and write of a server goes through here. */
static __always_inline bool read_call(struct task_struct *current, struct call *call)
{
	struct pt_regs *regs;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		regs = (struct pt_regs *)bpf_task_pt_regs(current);
		call->second = regs->si;
		call->number = regs->orig_ax;
		return (regs->cs & 0xffff) == USER_CS;
	}
	regs = user_registers(current);
	call->second = BPF_CORE_READ(regs, si);
	call->number = BPF_CORE_READ(regs, orig_ax);
	return (BPF_CORE_READ(regs, cs) & 0xffff) == USER_CS;
}

/* Of a system call, behind it: the kernel changes rax, rcx and r11 alone. */
static __always_inline __u64 first_argument(const struct pt_regs *regs)
{
	return regs->di;
}

static __always_inline void read_trap(struct task_struct *task, __u64 *trap, __u64 *error_code)
{
	*trap = BPF_CORE_READ(task, thread.trap_nr);
	*error_code = BPF_CORE_READ(task, thread.error_code);
}

/* Go's runtime keeps the current g in the word below the thread pointer. */
static __always_inline __u64 current_g(void)
{
	__u64 g = 0;

	bpf_probe_read_user(
		&g, sizeof(g), (void *)(BPF_CORE_READ(current_task(), thread.fsbase) - 8));
	return g;
}

#define FLAG_CARRY    (1 << 0)
#define FLAG_PARITY   (1 << 2)
#define FLAG_ZERO     (1 << 6)
#define FLAG_SIGN     (1 << 7)
#define FLAG_OVERFLOW (1 << 11)

/* Whether a conditional jump with that number of a condition jumps. Odd ones are the opposite of
 * the one before. */
static __always_inline bool holds(__u8 condition, __u64 flags)
{
	bool less = !(flags & FLAG_SIGN) != !(flags & FLAG_OVERFLOW), yes;

	switch (condition >> 1) {
	case 0:
		yes = flags & FLAG_OVERFLOW;
		break;
	case 1:
		yes = flags & FLAG_CARRY;
		break;
	case 2:
		yes = flags & FLAG_ZERO;
		break;
	case 3:
		yes = flags & (FLAG_CARRY | FLAG_ZERO);
		break;
	case 4:
		yes = flags & FLAG_SIGN;
		break;
	case 5:
		yes = flags & FLAG_PARITY;
		break;
	case 6:
		yes = less;
		break;
	default:
		yes = less || flags & FLAG_ZERO;
		break;
	}
	return yes != (condition & 1);
}

#else
#error "this architecture is not supported yet"
#endif

#endif
