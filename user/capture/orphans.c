/* SPDX-License-Identifier: MIT */
#include "capture/orphans.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capture/clone.h"
#include "capture/inject_site.h"
#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

#define DIRECTORY    "clones"
#define ROUNDS	     5
#define LATE_SECONDS 5 /* so long after a record, its clone may still come to be */

static uint64_t hertz(void)
{
	return (uint64_t)sysconf(_SC_CLK_TCK);
}

/* As /proc/PID/stat counts the start of a process. */
static uint64_t now_ticks(void)
{
	return clock_now_ns(CLOCK_BOOTTIME) / (NSEC_PER_SEC / hertz());
}

static void name_record(const struct process *p, char out[RUNTIME_NAME_MAX])
{
	snprintf(out, RUNTIME_NAME_MAX, "%d-%" PRIu64, p->pid, p->start_ticks);
}

int orphans_parse_record(const char *text, struct orphan_record *out)
{
	struct orphan_record record;

	if (sscanf(text, "%" SCNu64 " %" SCNu64, &record.since, &record.last) != 2 ||
		record.last < record.since)
		return -EINVAL;
	*out = record;
	return 0;
}

struct orphan_record orphans_next_record(const struct orphan_record *found, uint64_t now)
{
	if (!found)
		return (struct orphan_record){.since = now, .last = now};
	return (struct orphan_record){
		.since = found->since, .last = now > found->since ? now : found->since + 1};
}

static int read_record(int dir, const char *name, struct orphan_record *out)
{
	_cleanup_free_ char *text = NULL;
	int r = io_read_file_at(dir, name, 64, &text, NULL);

	return r < 0 ? r : orphans_parse_record(text, out);
}

int orphans_note(int runtimefd, const struct process *p)
{
	_cleanup_close_ int dir = -1;
	char name[RUNTIME_NAME_MAX], text[64];
	struct orphan_record found, next;
	int r = runtime_open_below(runtimefd, DIRECTORY, 1, &dir);

	if (r < 0)
		return r;
	name_record(p, name);
	next = orphans_next_record(
		read_record(dir, name, &found) == 0 ? &found : NULL, now_ticks());
	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 "\n", next.since, next.last);
	return runtime_write(dir, name, text, strlen(text));
}

void orphans_forget(int runtimefd, const struct process *p)
{
	_cleanup_close_ int dir = -1;
	struct orphan_record record;
	char name[RUNTIME_NAME_MAX];

	if (runtime_open_below(runtimefd, DIRECTORY, 0, &dir) < 0)
		return;
	name_record(p, name);
	if (read_record(dir, name, &record) < 0 || record.since == record.last)
		unlinkat(dir, name, 0);
}

int orphans_parse_stat(const char *line, struct orphan_stat *out)
{
	const char *at = strrchr(line, ')');
	int field = 3;

	*out = (struct orphan_stat){0};
	if (!at || at[1] != ' ')
		return -EINVAL;
	for (at += 2; at; field++) {
		switch (field) { /* Documentation/filesystems/proc.rst */
		case 3:
			out->state = *at;
			break;
		case 4:
			out->ppid = (pid_t)strtol(at, NULL, 10);
			break;
		case 22:
			out->start_ticks = strtoull(at, NULL, 10);
			break;
		case 38:
			out->exit_signal = (int)strtol(at, NULL, 10);
			break;
		case 52:
			out->exit_code = (int)strtol(at, NULL, 10);
			return 0;
		}
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return -EINVAL;
}

/* A child whose end is no signal, made since then: whether dead or not yet. */
static bool may_be_ours(const struct orphan_stat *s, pid_t parent, uint64_t since)
{
	return s->ppid == parent && s->exit_signal == 0 && s->start_ticks >= since;
}

bool orphans_is_ours(const struct orphan_stat *s, pid_t parent, uint64_t since)
{
	/* Killed with its tracer, or it found nobody and left by its own frame, which a seccomp
	 * filter of the process may have forbidden. */
	return s->state == 'Z' && may_be_ours(s, parent, since) &&
	       ((s->exit_code & 0x7f) == SIGKILL || (s->exit_code & 0x7f) == SIGSYS ||
		       s->exit_code == INJECT_EXIT_CODE << 8);
}

/* Its id in the PID namespace of its parent, which is its own: the last one of NSpid. */
static pid_t namespace_pid(int procfd)
{
	_cleanup_identity_ struct identity id = {0};

	return identity_read(procfd, &id) == 0 ? id.ns_pid : 0;
}

enum found { /* a child of the process that a record names */
	FOUND_OTHER,
	FOUND_LEFT,   /* one of ours that is still there, or will be when it has died */
	FOUND_REAPED, /* one of ours, now gone */
};

/* A process of its own: it ends whatever comes of it, as inject_call() asks for. */
static enum found reap_apart(const struct process *parent, pid_t pid)
{
	uint64_t pause;
	int status = 0, r;
	pid_t child = fork();

	if (child == 0) {
		r = clone_reap(parent, pid, &pause);
		_exit(r == 0 || r == -ECHILD ? 0 : 1);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return FOUND_LEFT;
	return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? FOUND_REAPED
									  : FOUND_LEFT;
}

static enum found reap_child(const struct process *parent, const char *name, uint64_t since)
{
	_cleanup_close_ int procfd = -1;
	_cleanup_free_ char *line = NULL;
	struct orphan_stat stat;
	char path[300];
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/%s", name);
	procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (procfd < 0 || io_read_file_at(procfd, "stat", 4096, &line, NULL) < 0 ||
		orphans_parse_stat(line, &stat) < 0 || !may_be_ours(&stat, parent->pid, since))
		return FOUND_OTHER;
	if (stat.state != 'Z')
		return FOUND_LEFT;
	if (!orphans_is_ours(&stat, parent->pid, since))
		return FOUND_OTHER;
	pid = namespace_pid(procfd);
	if (pid <= 0)
		pid = (pid_t)strtol(name, NULL, 10);
	return reap_apart(parent, pid);
}

static void note_found(enum found found, bool *left, bool *reaped)
{
	*left |= found == FOUND_LEFT;
	*reaped |= found == FOUND_REAPED;
}

/* The record of one process: its dead clones are reaped, and it goes. True: one is still there. */
static bool settle(int dir, const char *name)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	_cleanup_closedir_ DIR *proc = NULL;
	struct orphan_record record;
	struct dirent *entry;
	bool left = false, reaped = false, settled = true;
	uint64_t start;
	int pid;

	if (sscanf(name, "%d-%" SCNu64, &pid, &start) == 2 &&
		read_record(dir, name, &record) == 0 && process_open(pid, &p) == 0 &&
		p.start_ticks == start) {
		proc = opendir("/proc");
		while (proc && (entry = readdir(proc)) != NULL)
			if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
				note_found(reap_child(&p, entry->d_name, record.since), &left,
					&reaped);
		/* Whoever asked for the clone was killed, but the thread that makes it may still be
		 * at it. */
		settled = !left && (reaped || now_ticks() - record.last > LATE_SECONDS * hertz());
	}
	if (settled)
		unlinkat(dir, name, 0);
	return left;
}

static bool settle_all(int dir)
{
	_cleanup_closedir_ DIR *records = NULL;
	struct dirent *entry;
	bool left = false;

	if (io_open_dir_at(dir, ".", &records) < 0)
		return false;
	while ((entry = readdir(records)) != NULL)
		if (entry->d_name[0] != '.')
			left |= settle(dir, entry->d_name);
	return left;
}

bool orphans_pending(int runtimefd, const struct process *p)
{
	_cleanup_close_ int dir = -1;
	char name[RUNTIME_NAME_MAX];

	if (runtime_open_below(runtimefd, DIRECTORY, 0, &dir) < 0)
		return false;
	name_record(p, name);
	return faccessat(dir, name, F_OK, 0) == 0;
}

/* A clone whose tracer was killed may take a moment to die, and a busy thread one to stop. */
void orphans_reap(int runtimefd)
{
	const struct timespec nap = {.tv_nsec = 10 * NSEC_PER_MSEC};
	_cleanup_close_ int dir = -1;

	if (runtime_open_below(runtimefd, DIRECTORY, 0, &dir) < 0)
		return;
	for (int i = 0; i < ROUNDS && settle_all(dir); i++)
		nanosleep(&nap, NULL);
}
