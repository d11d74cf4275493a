/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the kernel side and user space agree on: the records in the ring buffers and the layout of
 * the shared maps. The only header that both include. Fixed-width types, explicit padding; user
 * space parses records as untrusted. */
#ifndef CORETRAP_ABI_H
#define CORETRAP_ABI_H

#include <linux/types.h>

#define CT_COMM_SIZE	  16	/* TASK_COMM_LEN */
#define CT_EXE_SIZE	  64	/* base name of the executable, cut */
#define CT_ARGUMENTS_SIZE 512	/* head of the argument area */
#define CT_STACK_SIZE	  16384 /* copied bytes from the stack pointer up */
#define CT_REGISTERS	  21	/* struct pt_regs of x86-64, in its order, as 64-bit words */

enum ct_kind {
	CT_DEATH = 1,	 /* struct ct_death: a process dies of a signal; one a process */
	CT_FIRST_CHANCE, /* struct ct_signal: a signal is about to enter its handler */
	CT_EXIT,	 /* struct ct_exit: the last thread of a process ended */
	CT_EXEC,	 /* struct ct_exec: a process runs a new image */
	CT_FORK,	 /* struct ct_fork: a watched process has a new child */
	CT_REQUEST,	 /* struct ct_request: a request was answered */
	CT_CONNECTION,	 /* struct ct_request: a request that waits */
	CT_SOCKET,  /* struct ct_socket: work that lies in a socket, or a peer that is waited for */
	CT_OVERRUN, /* struct ct_overrun: probes on a process' code fire too often */
	CT_ROUNDS,  /* struct ct_rounds: a loop goes round */
};

struct ct_header {
	__u32 kind;	/* enum ct_kind */
	__u32 size;	/* of the whole record */
	__u64 sequence; /* counts this CPU's records for this ring, also those that found no room: a
			   gap is a loss */
	__u64 time_ns;	/* CLOCK_BOOTTIME */
	__u32 cpu;
	__u32 padding;
};

struct ct_process {
	__u32 tgid, tid, ppid;		/* in the initial PID namespace */
	__u32 ns_tgid, ns_tid;		/* in the process' own */
	__u32 uid, gid;			/* effective */
	__u32 tree_root;		/* tgid whose mark was inherited, 0: none */
	__u64 start_ns;			/* the leader's start, CLOCK_BOOTTIME */
	__u64 exec_id;			/* counts the images the process has run */
	__u64 cgroup_id;		/* inode number of the cgroup2 directory */
	char comm[CT_COMM_SIZE];	/* the leader's */
	char thread_comm[CT_COMM_SIZE]; /* the thread's */
	char exe[CT_EXE_SIZE];		/* "" after the memory was given up */
};

struct ct_sender {
	__u32 tgid, tid, uid;
	__u32 valid;
	char comm[CT_COMM_SIZE];
};

enum ct_signal_flags {
	CT_CORE = 1 << 0, /* default action: the kernel will try to dump core */
	CT_OOM = 1 << 1,  /* chosen by the OOM killer */
	CT_EARLIER_FAULT =
		1 << 2, /* fault_* are those of the handled fault just before (stack overflow) */
	CT_HAS_FAULT = 1 << 3, /* fault_address, trap and error_code are valid */
	CT_HAS_REGISTERS = 1 << 4,
	CT_HAS_BUILD_ID = 1 << 5,
	CT_NOT_DUMPABLE = 1 << 6, /* the kernel will refuse a core */
};

struct ct_signal {
	struct ct_header header;
	struct ct_process process;
	__u32 signal;
	__s32 code; /* si_code */
	__u32 flags;
	__u32 arguments_size;
	__u64 fault_address;
	__u64 trap;
	__u64 error_code;
	__u64 core_limit_soft, core_limit_hard; /* RLIMIT_CORE */
	__u64 ip;
	__u64 build_id_offset; /* of ip in its file */
	__u8 build_id[20];
	__u32 padding;
	struct ct_sender sender;
	__u64 registers[CT_REGISTERS];
	char arguments[CT_ARGUMENTS_SIZE]; /* NUL-separated, as in memory */
};

struct ct_death {
	struct ct_signal signal;
	__u64 stack_start;
	__u32 stack_size; /* valid bytes of stack */
	__u32 padding;
	__u8 stack[CT_STACK_SIZE];
};

struct ct_exit {
	struct ct_header header;
	struct ct_process process;
	__u32 code; /* as wait(2) has it: signal in the low 7 bits, 0x80 core dumped, status << 8 */
	__u32 padding;
};

struct ct_exec {
	struct ct_header header;
	struct ct_process process;
	__u32 arguments_size;
	__u32 padding;
	char filename[256]; /* as given to execve: may be relative, may be a script */
	char arguments[CT_ARGUMENTS_SIZE];
};

struct ct_fork {
	struct ct_header header;
	struct ct_process process; /* the child */
};

/* Map "marks": what user space (or an inherited mark) said of a process. Kept by tgid; a mark of
 * another start or, unless CT_MARK_STICKY, of another image does not count. */
enum ct_mark_flags {
	CT_MARK_WATCHED = 1 << 0, /* else: ignored */
	CT_MARK_INHERIT = 1 << 1, /* children get the same mark */
	CT_MARK_STICKY = 1 << 2,  /* survives exec */
};

/* Map "mark_hints", an entry for all ids that agree in their last bits: 0 where none of them was
 * ever marked as watched. */
#define CT_MARK_HINTS 8192

struct ct_mark {
	__u64 start_ticks; /* as in /proc/PID/stat: start / 10 ms, all that user space can know */
	__u64 exec_id;
	__u32 flags;
	__u32 tree_root;
};

/* Map "counters", per CPU: why a record was not delivered. */
enum ct_loss {
	CT_LOSS_DEATH_RING_FULL, /* these two also number the rings' sequences */
	CT_LOSS_EVENT_RING_FULL,
	CT_LOSS_RATE_LIMITED,	  /* first-chance signals of one process, too many in a second */
	CT_LOSS_DEATH_TABLE_FULL, /* too many dying or unreaped processes: a second record is
				     possible */
	CT_LOSS_MARK_TABLE_FULL,
	CT_LOSS_REQUEST_STORAGE, /* no memory beside a socket: a request, or its head, is not seen
				  */
	CT_LOSS_PIPELINE, /* requests behind one that was being served, too many to tell apart */
	CT_LOSS_CALL_TABLE_FULL, /* too many threads inside functions: one more is not seen */
	CT_LOSS_MAX,
};

/* Set by user space before the programs are loaded. */
struct ct_config {
	__u64 fatal_mask;	 /* deaths of these signals are reported; bit N-1 is signal N */
	__u64 first_chance_mask; /* signals reported when a handler takes them; bit N-1 is signal N
				  */
	__u32 watch_unmarked;	 /* a process without a valid mark: 1 report, 0 ignore */
	__u32 report_exec;	 /* CT_EXEC and CT_EXIT of processes that are not ignored */
	__u32 first_chance_rate; /* records a second and process */
	__u32 padding;
};

/* Counters of an mm, in the order of the kernel's enum (include/linux/mm_types_task.h). */
enum ct_pages {
	CT_PAGES_FILE,
	CT_PAGES_ANONYMOUS,
	CT_PAGES_SWAPPED,
	CT_PAGES_SHARED,
	CT_PAGES_KINDS,
};

/* Map "watched", by tgid: which processes the sampler reads. User space sets the start, the rest is
 * the kernel side's memory of its last pass. */
struct ct_watch {
	__u64 start_ticks; /* as in /proc/PID/stat */
	__u64 cpu_ns;
	__s64 shared[CT_PAGES_KINDS]; /* what the mm's counters said without the CPUs' shares */
	__s64 drift[CT_PAGES_KINDS];  /* and the CPUs' shares */
};

/* The sampler adds up the shares of so many CPUs. Those of further ones may hold back some pages.
 */
#define CT_CPUS_MAX 512

enum ct_sample_flags {
	CT_SAMPLE_CUT = 1 << 0, /* more threads than one program may walk: cpu_ns is not theirs */
};

/* What one pass of the sampler says of one process. */
struct ct_sample {
	__u32 tgid;
	__u32 threads;
	__u64 start_ticks;
	__u64 time_ns; /* CLOCK_BOOTTIME */
	__u64 cpu_ns;
	__s64 pages[CT_PAGES_KINDS];
	__u32 flags;
	__u32 padding;
};

/* And of one thread of a process that is looked at closer. */
struct ct_thread {
	__u32 tid;
	__u32 padding;
	__u64 time_ns; /* CLOCK_BOOTTIME */
	__u64 cpu_ns;
	char comm[CT_COMM_SIZE];
};

enum ct_protocol {
	CT_PROTOCOL_GENERIC, /* bytes in, none out */
	CT_PROTOCOL_HTTP,    /* 1.x */
	CT_PROTOCOL_HTTP2,   /* known by its preface; its requests are not told apart */
	CT_PROTOCOL_TLS,     /* generic, but for records that ask for no answer */
};

enum ct_request_flags {
	CT_REQUEST_PATH_CUT = 1 << 0,  /* longer than there is room for */
	CT_REQUEST_REDACTED = 1 << 1,  /* a query or path parameters were left out */
	CT_REQUEST_PIPELINED = 1 << 2, /* arrived behind another; method and path are not known */
};

#define CT_METHOD_SIZE	    16
#define CT_PATH_SIZE	    256
#define CT_TRACEPARENT_SIZE 64
#define CT_REQUEST_ID_SIZE  64

/* Text is NUL-terminated, or fills its field. Times are CLOCK_BOOTTIME. */
struct ct_request {
	struct ct_header header;
	__u64 start_ns; /* of the leader of the process that read last */
	__u64 cookie;	/* of the socket */
	__u64 inode;	/* of the socket, as /proc/PID/fd has it; 0: it has no file any more */
	__u64 number;	/* which of the socket's requests it is: with the cookie its key */
	__u64 age_ns;	/* since its last byte was read: at least, to a tick */
	__u64 bytes_in; /* of this request */
	__u64 goroutine;
	__u32 tgid, tid;
	__u32 unread; /* bytes that lie in the socket */
	__u32 flags;  /* enum ct_request_flags */
	__u16 protocol;
	__u16 status; /* HTTP, once it is answered; else 0 */
	__u16 family; /* AF_INET, AF_INET6, AF_UNIX */
	__u16 local_port, peer_port;
	__u16 padding[3];
	__u8 local[16], peer[16]; /* AF_INET: the first 4 bytes; AF_UNIX: nothing */
	char method[CT_METHOD_SIZE];
	char path[CT_PATH_SIZE]; /* without query and parameters */
	char traceparent[CT_TRACEPARENT_SIZE];
	char request_id[CT_REQUEST_ID_SIZE];
};

enum ct_socket_flags {
	CT_SOCKET_LISTENS = 1 << 0,
};

/* Which sockets of a process are asked for. */
enum ct_socket_wanted {
	CT_SOCKETS_UNREAD,   /* in which work lies */
	CT_SOCKETS_SERVING,  /* by which requests come to it */
	CT_SOCKETS_OUTBOUND, /* whose peers it waits for */
};

/* Bytes at a time that `request_pages` finds. */
#define CT_PAGES_SAMPLE 32

struct ct_socket {
	struct ct_header header;
	__u64 inode;
	__u64 position; /* where in the stream reading stands: it changes whenever something is read
			 */
	__u64 age_ns;	/* CT_SOCKETS_OUTBOUND: since it sent; at least, to a tick */
	__u32 tgid, fd;
	__u32 waiting; /* bytes unread, or connections not accepted */
	__u32 room;    /* connections that the backlog holds */
	__u32 flags;   /* enum ct_socket_flags */
	__u16 family, local_port, peer_port, padding;
	__u8 local[16], peer[16];
	__u32 padding2;
};

/* Set by user space before the programs are loaded. */
struct ct_request_config {
	__u64 slow_ns;		      /* what took, or takes, longer is reported */
	__u64 close_ns;		      /* what takes longer may become slow */
	__u64 tick_ns;		      /* of the kernel's clock */
	__u32 status_min, status_max; /* answers with these are reported, however fast */
	__u32 report_all;	      /* every answer is reported */
	__u32 count_answers;	      /* in the map "answers" */
};

/* Map "go_processes", by tgid: where a goroutine's number lies in its struct g. One of a process
 * that has ended does no harm: what is read in its stead is a number that nobody asks for. */
struct ct_go {
	__u32 offset;
	__u32 padding;
};

/* A process' probes on its own code may fire so often a second; past it they are in the way. */
#define CT_FIRINGS_MAX 10000

/* How often those of one process fired. */
struct ct_firing {
	__u64 window_ns; /* when this second began */
	__u32 count;	 /* in it */
	__u32 over;	 /* it was too often: for good */
};

struct ct_overrun {
	struct ct_header header;
	__u32 tgid;
	__u32 padding;
};

/* Map "sites": what it means when a process comes to an address. */
struct ct_site_key {
	__u64 ip;
	__u32 tgid;
	__u32 padding;
};

enum ct_site_kind {
	CT_SITE_ENTRY,	/* of a function */
	CT_SITE_EXIT,	/* a return, or a jump that leaves it */
	CT_SITE_BRANCH, /* a jump that leaves it if a condition holds */
	CT_SITE_BEGIN,	/* of a pair of static probes */
	CT_SITE_END,
};

enum ct_argument_kind {
	CT_ARGUMENT_NONE, /* the thread joins begin and end */
	CT_ARGUMENT_CONSTANT,
	CT_ARGUMENT_REGISTER,
	CT_ARGUMENT_MEMORY, /* behind a register */
};

struct ct_site {
	__u32 instance; /* of the function, or of the pair: which of those that user space watches
			 */
	__u8 kind;	/* enum ct_site_kind */
	__u8 condition; /* CT_SITE_BRANCH: as in the instruction */
	__u8 go;	/* its calls belong to goroutines */
	__u8 argument;	/* enum ct_argument_kind: BEGIN and END are joined by it */
	__s64 value;	/* the constant, or the offset to the register */
	__u16 reg;	/* where it lies in struct pt_regs, in bytes */
	__u8 size;	/* of the argument, in bytes */
	__u8 is_signed;
	__u32 goid; /* where a goroutine's number lies in its struct g; 0: not known */
};

/* Map "calls": who is inside. */
struct ct_call_key {
	__u64 owner; /* thread, address of a goroutine's struct g, or an argument */
	__u32 instance;
	__u32 padding;
};

struct ct_call {
	__u64 entered_ns; /* CLOCK_BOOTTIME */
	__u64 stack;	  /* where a goroutine's stack began (its highest address); else 0 */
	__u64 below;	  /* how far below STACK the stack pointer was at the entry; modulo 2^64 */
	__u64 back;	  /* the word at the stack pointer: where it returns to */
	__u64 goroutine;  /* 0: not known */
	__u32 tid;	  /* that entered */
	__u32 padding;
};

/* So often a suspect comes out of its wait before user space is told. */
#define CT_ROUNDS_TOLD 8

/* Map "suspects": a thread that is watched for coming out of its wait. */
struct ct_suspect {
	__u64 rounds;  /* so often it did, since user space made the entry */
	__u64 last_ns; /* CLOCK_MONOTONIC, the last time */
	__u64 first;   /* argument of the call that it comes out of; 0: of any */
};

struct ct_rounds {
	struct ct_header header;
	__u32 tid;
	__u32 padding;
};

_Static_assert(sizeof(struct ct_suspect) == 24, "ABI");
_Static_assert(sizeof(struct ct_rounds) == 40, "ABI");
_Static_assert(sizeof(struct ct_firing) == 16, "ABI");
_Static_assert(sizeof(struct ct_overrun) == 40, "ABI");
_Static_assert(sizeof(struct ct_site_key) == 16, "ABI");
_Static_assert(sizeof(struct ct_site) == 24, "ABI");
_Static_assert(sizeof(struct ct_call_key) == 16, "ABI");
_Static_assert(sizeof(struct ct_call) == 48, "ABI");
_Static_assert(sizeof(struct ct_request) == 32 + 56 + 16 + 16 + 32 + 400, "ABI");
_Static_assert(sizeof(struct ct_socket) == 32 + 24 + 20 + 8 + 32 + 4, "ABI");
_Static_assert(sizeof(struct ct_header) == 32, "ABI");
_Static_assert(sizeof(struct ct_process) == 152, "ABI");
_Static_assert(
	sizeof(struct ct_signal) == 32 + 152 + 96 + 32 + CT_REGISTERS * 8 + CT_ARGUMENTS_SIZE,
	"ABI");
_Static_assert(sizeof(struct ct_death) == sizeof(struct ct_signal) + 16 + CT_STACK_SIZE, "ABI");
_Static_assert(sizeof(struct ct_exit) == 192, "ABI");
_Static_assert(sizeof(struct ct_exec) == 184 + 8 + 256 + CT_ARGUMENTS_SIZE, "ABI");
_Static_assert(sizeof(struct ct_watch) == 80, "ABI");
_Static_assert(sizeof(struct ct_sample) == 72, "ABI");
_Static_assert(sizeof(struct ct_thread) == 40, "ABI");

#endif
