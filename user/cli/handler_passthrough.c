/* SPDX-License-Identifier: MIT */
#include "cli/handler_passthrough.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/passthrough.h"
#include "capture/registry.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define SPLICE_MAX (1 << 20)

/* The last number of a line of /proc/PID/status: an id in the innermost PID namespace. */
static pid_t innermost(const char *status, const char *key, pid_t otherwise)
{
	const char *line = strstr(status, key);
	pid_t id = otherwise;
	int n, used;

	if (!line)
		return otherwise;
	for (line += strlen(key); *line && *line != '\n'; line += used) {
		if (sscanf(line, " %d%n", &n, &used) != 1)
			break;
		id = n;
	}
	return id;
}

/* Nothing here reads the process' memory or asks its file systems: both may hang. EXE is PATH_MAX
 * bytes. */
static void gather(const struct handler_passthrough *h, char *exe, struct passthrough_values *out)
{
	const struct broker_question *q = h->question;
	_cleanup_free_ char *status = NULL;
	ssize_t len = readlinkat(h->taskfd, "exe", exe, PATH_MAX - 1);

	exe[len > 0 ? len : 0] = '\0';
	*out = (struct passthrough_values){.pid = q->pid,
		.tid = q->tid,
		.ns_pid = q->pid,
		.ns_tid = q->tid,
		.uid = q->uid,
		.gid = q->gid,
		.dump_mode = q->dump_mode,
		.signal = q->signal,
		.time = q->time,
		.core_limit = q->core_limit,
		.cpu = h->cpu,
		.hostname = h->hostname,
		.comm = q->comm,
		.exe = len > 0 ? exe : NULL,
		.pidfd = -1};
	if (io_read_file_at(h->taskfd, "status", 1 << 20, &status, NULL) < 0)
		return;
	out->ns_pid = innermost(status, "\nNStgid:", q->pid);
	out->ns_tid = innermost(status, "\nNSpid:", q->tid);
}

static void tell(const struct handler_passthrough *h, int r, const char *reason)
{
	/* A core that is left out is how most hosts are set up (RLIMIT_CORE 0): nothing to fill the
	 * kernel's log with. */
	log_write(r < 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
		"msg=\"served by the core_pattern that was there before\" pid=%d signal=%d core=%d "
		"reason=\"%s\"",
		h->question->pid, h->question->signal, r == 1,
		reason	? reason
		: r < 0 ? strerror(-r)
			: "");
}

/* Writes the core in a process of its own, which hangs if the disk does, without a read end of the
 * kernel's pipe. */
_Noreturn static void write_file(
	const struct handler_passthrough *h, struct passthrough *p, const char *pattern, int corefd)
{
	_cleanup_free_ char *reason = NULL;
	int r;

	close(STDIN_FILENO);
	cleanup_close(h->tie);
	p->corefd = corefd;
	r = passthrough_serve(p, pattern, &reason);
	tell(h, r, reason);
	_exit(0);
}

static int pass_to_file(
	const struct handler_passthrough *h, struct passthrough *p, const char *pattern)
{
	_cleanup_close_ int read_end = -1, write_end = -1;
	int ends[2];
	pid_t writer;
	ssize_t n;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	read_end = ends[0];
	write_end = ends[1];
	writer = fork();
	if (writer < 0)
		return -errno;
	if (writer == 0) {
		cleanup_close(&write_end);
		write_file(h, p, pattern, read_end);
	}
	cleanup_close(&read_end);
	signal(SIGPIPE, SIG_IGN);
	/* Waits on pipes alone; the guard ends it when the writer hangs. */
	do
		n = splice(STDIN_FILENO, NULL, write_end, NULL, SPLICE_MAX, SPLICE_F_MOVE);
	while (n > 0 || (n < 0 && errno == EINTR));
	/* As under the kernel, the process ends when its core is there, not before. */
	cleanup_close(&write_end);
	while (waitpid(writer, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* What served crashes before us. Where the last owner has left since the kernel started this
 * handler, that is set again already. */
static int previous(int runtimefd, char **pattern, int *suid_dumpable)
{
	_cleanup_free_ char *now = NULL, *suid = NULL;
	int r = registry_previous(runtimefd, pattern, suid_dumpable);

	if (r != -ENOENT)
		return r;
	r = io_read_file_at(AT_FDCWD, "/proc/sys/kernel/core_pattern", 4096, &now, NULL);
	if (r == 0)
		r = io_read_file_at(AT_FDCWD, "/proc/sys/fs/suid_dumpable", 64, &suid, NULL);
	if (r < 0)
		return r;
	now[strcspn(now, "\n")] = '\0';
	if (registry_is_ours(now))
		return -ENOENT;
	*suid_dumpable = atoi(suid);
	*pattern = TAKE_PTR(now);
	return 0;
}

int handler_pass_on(const struct handler_passthrough *h)
{
	_cleanup_free_ char *pattern = NULL, *reason = NULL, *uses_pid = NULL;
	struct passthrough p = {.procfd = h->process->procfd,
		.taskfd = h->taskfd,
		.pidfd = h->process->pidfd,
		.corefd = STDIN_FILENO};
	int suid_dumpable, r = previous(h->runtimefd, &pattern, &suid_dumpable);
	char exe[PATH_MAX];

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	/* Only our own fs.suid_dumpable made the kernel start a handler for it. */
	if (h->question->dump_mode == 2 && suid_dumpable != 2)
		return 0;
	gather(h, exe, &p.values);
	if (io_read_file_at(AT_FDCWD, "/proc/sys/kernel/core_uses_pid", 64, &uses_pid, NULL) == 0)
		p.uses_pid = uses_pid;
	if (pattern[0] != '|')
		return pass_to_file(h, &p, pattern);
	r = passthrough_serve(&p, pattern, &reason);
	tell(h, r, reason);
	return 0;
}
