/* SPDX-License-Identifier: MIT */
/* What no rule wants is served the way the host was set up before: by the core_pattern that
 * coretrap found. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What format specifiers of a core_pattern (core(5)) stand for. */
struct passthrough_values {
	pid_t pid, tid;	      /* %P, %I: in the initial PID namespace */
	pid_t ns_pid, ns_tid; /* %p, %i: in the process' own */
	uid_t uid;	      /* %u: real, as the kernel gave it */
	gid_t gid;	      /* %g */
	int dump_mode;	      /* %d */
	int signal;	      /* %s */
	int64_t time;	      /* %t */
	uint64_t core_limit;  /* %c: soft RLIMIT_CORE; UINT64_MAX: none */
	const char *cpu;      /* %C, as the kernel gave it, "" where it does not know it */
	const char *hostname; /* %h */
	const char *comm;     /* %e: of the faulting thread */
	const char *exe;      /* %E, and %f its last part: path of the executable, NULL: unknown */
	int pidfd;	      /* %F: number under which a program gets a pidfd, -1: none */
};

/* Expands one word of a pattern, or a file pattern, as fs/coredump.c does: in names '/' becomes
 * '!', "." and ".." are broken by a '!', an empty one becomes "!"; unknown specifiers vanish. *out
 * is new. *pid_used (may be NULL) tells whether %p was among them. Pure. -ENOMEM. */
int passthrough_expand(
	const char *word, const struct passthrough_values *v, char **out, int *pid_used);

/* Splits the command of a pipe pattern (behind the '|') at blanks and expands every word: a
 * NULL-terminated array, freed by passthrough_free(). -EINVAL: there is no command. Pure. */
int passthrough_command(const char *command, const struct passthrough_values *v, char ***out);
void passthrough_free(char ***argv);

struct passthrough {
	struct passthrough_values values;
	int procfd;	      /* /proc/PID of the dying process */
	int taskfd;	      /* its task/TID directory */
	int pidfd;	      /* -1: none */
	int corefd;	      /* the kernel's core, unread: a pipe */
	const char *uses_pid; /* text of kernel.core_uses_pid */
};

/* Serves the file pattern alone; see passthrough_serve(). */
int passthrough_file(const struct passthrough *p, const char *pattern, char **reason);
/* Writes the core that comes out of FROM into the empty file TO, zeros as holes, up to LIMIT bytes
 * of data. 0 or -errno; -EFBIG: cut at the limit. */
int passthrough_copy(int from, int to, uint64_t limit);

/* Serves the dying process by PATTERN. A pipe's program replaces this one (with descriptor 0
 * reading the core), so that this returns only when that failed. A file pattern is served as the
 * kernel would: in the process' own root or working directory, with its ids and limits; 1 when a
 * core was written, 0 when it was left out, with a new string in *reason; -errno on failure, also
 * with a reason. */
int passthrough_serve(const struct passthrough *p, const char *pattern, char **reason);
