/* SPDX-License-Identifier: GPL-2.0-only */
/* Where bytes are that went through a socket. */
#ifndef CORETRAP_BUFFER_BPF_H
#define CORETRAP_BUFFER_BPF_H

#include "arch.bpf.h"
#include "common.bpf.h"

struct buffer {
	__u64 address; /* 0: not known */
	__u32 size;
	__u32 end;	/* IN_KERNEL: behind the last byte, in its skb */
	bool in_kernel; /* else in the process, where a system call reads into or writes from */
	__u32 is_last;	/* 1: the call seems to take no more */
};

/* 0, or the bytes are not there. */
static __always_inline long read_buffer(void *to, __u32 size, struct buffer *b)
{
	if (b->in_kernel)
		return bpf_probe_read_kernel(to, size, (void *)b->address);
	return bpf_probe_read_user(to, size, (void *)b->address);
}

struct user_vector { /* struct iovec, as user space has it */
	__u64 address, size;
};

#define MSGHDR_IOV 16 /* offset of msg_iov in user space's struct msghdr */

/* The first bytes of a vector; what lies in its other parts is not looked at. */
static __always_inline void read_vector(struct buffer *b, __u64 vector, __u32 bytes)
{
	struct user_vector first;

	b->address = 0;
	if (bpf_probe_read_user(&first, sizeof(first), (void *)vector))
		return;
	b->address = first.address;
	b->size = first.size < bytes ? first.size : bytes;
}

/* Where the current call (TASK is the current one) has the BYTES bytes that it just moved.
 * io_uring's are in no registers. */
static __always_inline void find_buffer(struct buffer *b, struct task_struct *task, __u32 bytes)
{
	struct call call;
	__u64 vector;

	b->in_kernel = false;
	b->is_last = true;
	b->address = 0;
	b->size = bytes;
	if (!read_call(task, &call))
		return;
	switch (call.number) {
	case CALL_READ:
	case CALL_WRITE:
	case CALL_RECVFROM:
	case CALL_SENDTO:
		b->address = call.second;
		return;
	case CALL_READV:
	case CALL_WRITEV:
		read_vector(b, call.second, bytes);
		return;
	case CALL_RECVMSG:
	case CALL_SENDMSG:
		if (bpf_probe_read_user(
			    &vector, sizeof(vector), (void *)(call.second + MSGHDR_IOV)) == 0)
			read_vector(b, vector, bytes);
		return;
	}
}

/* The first bytes there; where they cannot be read, the buffer is not known. */
static __always_inline void read_start(struct buffer *b, __u8 start[16])
{
	__u32 n = b->size < 16 ? b->size : 16;

	barrier_var(n); /* or the compiler drops the check by which the verifier sees the bound */
	if (n > 16)
		return;
	if (b->address && read_buffer(start, n, b))
		b->address = 0;
}

#endif
