/* SPDX-License-Identifier: MIT */
/* What the kernel side saw, decoded: from here on nothing knows the wire format. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/process.h"
#include "target/registers.h"

enum event_kind {
	EVENT_DEATH,	    /* a process dies of a signal; one a process */
	EVENT_FIRST_CHANCE, /* a signal is about to enter its handler */
	EVENT_EXIT,	    /* the last thread of a process ended */
	EVENT_EXEC,
	EVENT_FORK, /* a watched process has a new child */
};

#define EVENT_EXE_MAX 64

struct event_process {
	pid_t pid, tid, ppid; /* in the initial PID namespace */
	pid_t ns_pid, ns_tid; /* in the process' own */
	uid_t uid;	      /* effective */
	gid_t gid;
	pid_t tree_root;      /* pid of the watched process it descends from, 0: none */
	uint64_t start_ns;    /* CLOCK_BOOTTIME */
	uint64_t start_ticks; /* the same as /proc/PID/stat has it */
	uint64_t exec_id;     /* counts the images that the process has run */
	uint64_t cgroup_id;
	char comm[PROCESS_COMM_MAX];	    /* the leader's */
	char thread_comm[PROCESS_COMM_MAX]; /* the thread's */
	char exe[EVENT_EXE_MAX];	    /* base name of the executable, "" if not known */
};

enum event_access { /* what a memory fault tried */
	ACCESS_UNKNOWN,
	ACCESS_READ,
	ACCESS_WRITE,
	ACCESS_EXECUTE,
};

struct event_signal {
	int number;
	int code;	 /* si_code; 0 where the kernel tells none (SIGKILL) */
	bool dumps_core; /* the default action that follows is a core dump */
	bool oom;	 /* chosen by the OOM killer */
	bool not_dumpable;
	bool has_fault;	    /* address, trap, access and mapped are known */
	bool earlier_fault; /* they are those of the fault before, whose handler had no stack left
			     */
	bool mapped;	    /* the address lay in a mapping that forbids the access */
	enum event_access access;
	uint64_t address;
	uint64_t trap, error_code;     /* the processor's */
	uint64_t core_soft, core_hard; /* RLIMIT_CORE */
	uint64_t ip;
	bool has_build_id;
	uint8_t build_id[20];	  /* of the file that ip lies in */
	uint64_t build_id_offset; /* of ip in that file */
	bool has_sender;
	pid_t sender_pid, sender_tid;
	uid_t sender_uid;
	char sender_comm[PROCESS_COMM_MAX];
	bool has_registers;
	struct thread_registers registers;
	uint64_t stack_start; /* address of stack[0] */
	size_t stack_size;
	void *stack; /* copied bytes, owned */
};

struct event {
	enum event_kind kind;
	uint64_t time_ns; /* CLOCK_REALTIME */
	struct event_process process;
	struct event_signal signal; /* DEATH, FIRST_CHANCE */
	int exit_code;		    /* EXIT: as wait(2) has it */
	char *filename;		    /* EXEC: as given to execve, owned */
	char *arguments; /* DEATH, FIRST_CHANCE, EXEC: argv, each NUL-terminated, a head of it;
			    owned, or NULL */
	size_t arguments_size;
};

void event_free(struct event *e); /* NULL-safe */
static inline void cleanup_event(struct event **e)
{
	event_free(*e);
}
#define _cleanup_event_ __attribute__((cleanup(cleanup_event)))
