/* SPDX-License-Identifier: GPL-2.0-only */
/* Made by scripts/gen-vmlinux from vmlinux/fields and a kernel's BTF: change the list, not this file. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_iter_meta;
struct bpf_local_storage;
struct cred;
struct dentry;
struct file;
struct inode;
struct list_head;
struct mm_struct;
struct pid;
struct proto;
struct request_sock;
struct seq_file;
struct signal_struct;
struct sk_buff;
struct sock;
struct socket;
struct task_struct;
struct unix_address;

struct thread_struct {
	__u64 trap_nr;
	__u64 error_code;
	__u64 fsbase;
};

struct list_head {
	struct list_head *next;
};

struct sched_entity {
	__u64 sum_exec_runtime;
};

struct task_struct {
	__u32 flags;
	__s32 pid;
	__s32 tgid;
	__s32 exit_code;
	__u64 self_exec_id;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	struct signal_struct *signal;
	struct cred *cred;
	struct mm_struct *mm;
	char comm[16];
	void *stack;
	struct thread_struct thread;
	struct list_head thread_node;
	struct sched_entity se;
	__s32 exit_signal;
	__u32 ptrace;
};

typedef struct {
	__s32 counter;
} atomic_t;

struct rlimit {
	__u64 rlim_cur;
	__u64 rlim_max;
};

struct seqcount {
	__u32 sequence;
};

struct seqcount_spinlock {
	struct seqcount seqcount;
};

typedef struct {
	struct seqcount_spinlock seqcount;
} seqlock_t;

struct signal_struct {
	atomic_t live;
	__u32 flags;
	__s32 group_exit_code;
	struct rlimit rlim[16];
	__s32 nr_threads;
	struct list_head thread_head;
	seqlock_t stats_lock;
	__u64 sum_sched_runtime;
};

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct cred {
	kuid_t euid;
	kgid_t egid;
};

struct upid {
	__s32 nr;
};

struct pid {
	__u32 level;
	struct upid numbers[0];
};

struct percpu_counter {
	__s64 count;
	void *counters;
};

struct mm_struct {
	struct file *exe_file;
	__u64 arg_start;
	__u64 arg_end;
	struct percpu_counter rss_stat[4];
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
};

struct qstr {
	void *name;
};

struct dentry {
	struct qstr d_name;
};

struct inode {
	__u64 i_ino;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__u16 u6_addr16[8];
		__u32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	struct proto *skc_prot;
	__u16 skc_family;
	__u8 skc_state;
	__u16 skc_dport;
	__u16 skc_num;
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sk_buff_head {
	struct sk_buff *next;
	__u32 qlen;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
	struct socket *sk_socket;
	struct bpf_local_storage *sk_bpf_storage;
	struct sk_buff_head sk_receive_queue;
	void *sk_user_data;
	__u8 sk_shutdown;
};

struct socket {
	struct file *file;
	struct sock *sk;
};

struct proto {
	void *recvmsg;
};

struct tcp_sock {
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 write_seq;
	__u64 bytes_received;
	__u32 data_segs_out;
	__u32 lsndtime;
	__u32 rcv_tstamp;
};

struct request_sock_queue {
	struct request_sock *rskq_accept_head;
};

struct inet_connection_sock {
	struct request_sock_queue icsk_accept_queue;
	struct {
		__u8 pending;
		__u8 quick;
		__u8 pingpong;
		__u8 retry;
		__u32 ato;
		__u32 lrcv_flowlabel;
		__u32 dst_quick_ack;
		__u32 unused;
		__u32 lrcvtime;
		__u16 last_seg_size;
		__u16 rcv_mss;
	} icsk_ack;
	__u8 icsk_retransmits;
	__u32 icsk_rto;
};

struct mptcp_sock {
	struct sock *first;
	__u64 write_seq;
};

struct sk_buff {
	__u32 len;
	__u32 data_len;
	void *head;
	__u32 end;
	void *data;
	char cb[48];
};

struct tcp_skb_cb {
	__u32 seq;
};

struct skb_frag {
	__u64 netmem;
	__u32 len;
	__u32 offset;
};

struct skb_shared_info {
	__u8 nr_frags;
	struct skb_frag frags[17];
};

struct page {

};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

typedef struct {
	atomic_t refs;
} refcount_t;

struct sockaddr_un {
	__u16 sun_family;
	char sun_path[108];
};

struct unix_address {
	refcount_t refcnt;
	__s32 len;
	struct sockaddr_un name[0];
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct sock *sk;
	void *value;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct linux_binprm {
	const char *filename;
	const char *interp;
};

union __sifields {
	struct {
		__s32 _pid;
		__u32 _uid;
	} _kill;
	struct {
		void *_addr;
	} _sigfault;
};

struct kernel_siginfo {
	__s32 si_signo;
	__s32 si_code;
	union __sifields _sifields;
};

struct sigaction {
	void *sa_handler;
};

struct k_sigaction {
	struct sigaction sa;
};

struct pt_regs {
	__u64 r15;
	__u64 r14;
	__u64 r13;
	__u64 r12;
	__u64 bp;
	__u64 bx;
	__u64 r11;
	__u64 r10;
	__u64 r9;
	__u64 r8;
	__u64 ax;
	__u64 cx;
	__u64 dx;
	__u64 si;
	__u64 di;
	__u64 orig_ax;
	__u64 ip;
	__u16 cs;
	__u64 flags;
	__u64 sp;
	__u16 ss;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_array {
	void *pptrs[0];
};

#pragma clang attribute pop
