/* SPDX-License-Identifier: MIT */
/* A process: a pidfd, its /proc directory and a start time, never a bare pid. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_COMM_MAX 16 /* TASK_COMM_LEN */

struct process {
	pid_t pid;  /* the process' id (tgid) in coretrap's PID namespace */
	int pidfd;  /* -1 on a process that is being dumped by a kernel without pidfds for it */
	int procfd; /* directory /proc/PID: stays with this process, reads fail with ESRCH after it
		     */
	uint64_t start_ticks; /* field 22 of /proc/PID/stat: clock ticks since boot */
};

#define PROCESS_NONE ((struct process){.pid = -1, .pidfd = -1, .procfd = -1})

/* Opens process PID. *out is untouched on failure: -ESRCH (none of that id), -ENOMEM, -EMFILE … */
int process_open(pid_t pid, struct process *out);
/* 0 while the process lives and is the one that was opened, else -ESRCH. */
int process_verify(const struct process *p);
void process_close(struct process *p);
#define _cleanup_process_ __attribute__((cleanup(process_close)))

/* Opens the directory task/TID of the process; -errno. The leader may be gone while threads live.
 */
int process_open_task(const struct process *p, pid_t tid);
/* The same for a thread that lives, the leader if it does; *TID (may be NULL) is its id. -ESRCH:
 * all have ended; another -errno: that cannot be told. */
int process_open_live_task(const struct process *p, pid_t *tid);

/* Who a process is, as far as /proc tells: everything in it was chosen by that process or its
 * parent. */
struct identity {
	pid_t pid, tid, ppid;
	pid_t ns_pid; /* its id in its own PID namespace; equals pid outside containers */
	uid_t uid;    /* effective */
	gid_t gid;
	uint64_t start_ticks;
	char comm[PROCESS_COMM_MAX];
	char *executable; /* link target of exe, without " (deleted)"; NULL if unreadable */
	char *arguments;  /* argv, each NUL-terminated, at most IDENTITY_ARGUMENTS_MAX bytes */
	size_t arguments_size;
	char *cgroup;	       /* path of the cgroup2 entry, else of the first v1 controller's */
	char container_id[65]; /* 64 (or 12 and more) hex digits found in the cgroup path; "" if
				  none */
};

#define IDENTITY_ARGUMENTS_MAX 4096

/* Reads what it can below PROCFD (a /proc/PID directory, or a fixture's); fields that could not be
 * read stay empty. -ESRCH when not even stat is readable. The caller frees with identity_free(). */
int identity_read(int procfd, struct identity *out);
void identity_free(struct identity *id);
#define _cleanup_identity_ __attribute__((cleanup(identity_free)))

/* Finds the container's id in a cgroup path ("" if there is none): pure. */
void identity_container_id(const char *cgroup, char out[65]);
