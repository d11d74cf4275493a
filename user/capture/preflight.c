/* SPDX-License-Identifier: MIT */
#include "capture/preflight.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/text.h"
#include "target/cgroup.h"
#include "target/stat.h"

#define KTHREADD   2 /* the parent of all kernel threads; its own is 0 */
#define EVENT_FORK 2 /* UFFD_FEATURE_EVENT_FORK */

#define SAY(buffer, ...) snprintf(buffer, sizeof(buffer), __VA_ARGS__)

/* "Key:\tvalue" of status: where the value begins, or NULL. */
static const char *field(const char *status, const char *key)
{
	const char *line = strstr(status, key);

	return line ? line + strlen(key) : NULL;
}

static long number(const char *status, const char *key)
{
	const char *value = field(status, key);

	return value ? strtol(value, NULL, 10) : 0;
}

static void name_tracer(struct preflight *out, long tracer)
{
	_cleanup_free_ char *printable = NULL;
	_cleanup_close_ int procfd = -1;
	struct stat_line stat;
	char path[32];

	SAY(path, "/proc/%ld", tracer);
	procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (procfd >= 0 && stat_read(procfd, &stat) == 0)
		printable = text_printable(stat.comm, strnlen(stat.comm, sizeof(stat.comm)), 64);
	SAY(out->refused, "it is traced by %s[%ld]: only one tracer can hold a process",
		printable ? printable : "process", tracer);
}

void preflight_read_status(const char *status, struct preflight *out)
{
	const char *features = field(status, "\nx86_Thread_features:\t");
	long tracer = number(status, "\nTracerPid:\t"), seccomp = number(status, "\nSeccomp:\t");

	/* Only who has an address space has a size. */
	out->ended = !field(status, "\nVmSize:\t") && number(status, "\nPPid:\t") > KTHREADD;
	if (out->ended)
		SAY(out->refused, "it is about to end, and has given up its memory");
	else if (!field(status, "\nVmSize:\t"))
		SAY(out->refused, "it is a kernel thread, without memory of its own");
	else if (tracer > 0)
		name_tracer(out, tracer);
	if (features && strstr(features, "shstk"))
		SAY(out->no_fork, "it has a shadow stack, on which an injected call cannot return");
	if (seccomp == 1)
		SAY(out->no_fork, "it is under strict seccomp");
	out->seccomp = seccomp > 0;
}

bool preflight_is_fork_monitored(const char *fdinfo)
{
	const char *api = strstr(fdinfo, "API:\t");
	uint64_t features;

	return api && sscanf(api + 5, "%*x:%" SCNx64, &features) == 1 && (features & EVENT_FORK);
}

/* The first child in a new namespace is its init: with it, all that follow would end. */
static void look_at_namespaces(const struct process *p, struct preflight *out)
{
	char own[64] = "", children[64] = "";

	if (readlinkat(p->procfd, "ns/pid", own, sizeof(own) - 1) <= 0)
		return;
	/* As long as there is no first child, there is nothing to be read: ENOENT. */
	if (readlinkat(p->procfd, "ns/pid_for_children", children, sizeof(children) - 1) > 0
			? strcmp(own, children) != 0
			: errno == ENOENT)
		SAY(out->no_fork, "its children live in another PID namespace than itself");
}

/* A userfaultfd that wants to hear of forks makes the fork wait for its reader, who may be among
 * those that stand still. */
static void look_at_descriptors(const struct process *p, struct preflight *out)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;

	if (io_open_dir_at(p->procfd, "fd", &dir) < 0)
		return;
	while ((entry = readdir(dir)) != NULL) {
		_cleanup_free_ char *info = NULL;
		char target[64], path[300];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, "anon_inode:[userfaultfd]") != 0)
			continue;
		SAY(path, "fdinfo/%s", entry->d_name);
		if (io_read_file_at(p->procfd, path, 4096, &info, NULL) == 0 &&
			preflight_is_fork_monitored(info))
			SAY(out->no_fork, "it has a userfaultfd that watches forks");
	}
}

/* Who shares the address space (vfork, CLONE_VM) goes on writing to it, whatever stands still. */
static void look_for_peers(const struct process *p, struct preflight *out)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL) {
		pid_t other = (pid_t)strtol(entry->d_name, NULL, 10);

		if (other > 0 && other != p->pid &&
			syscall(SYS_kcmp, p->pid, other, KCMP_VM, 0, 0) == 0) {
			SAY(out->no_fork, "it shares its memory with process %d", other);
			return;
		}
	}
}

bool preflight_is_own(const struct process *p)
{
	struct stat_line stat_line;
	struct stat ours, theirs;

	return stat("/proc/self/exe", &ours) == 0 && fstatat(p->procfd, "exe", &theirs, 0) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino &&
	       stat_read(p->procfd, &stat_line) == 0 &&
	       strcmp(stat_line.comm, PREFLIGHT_LAB_COMM) != 0;
}

static void look_at_executable(const struct process *p, struct preflight *out)
{
	_cleanup_close_ int fd = openat(p->procfd, "exe", O_RDONLY | O_CLOEXEC);
	unsigned char ident[EI_NIDENT];

	if (fd < 0)
		return;
	if (preflight_is_own(p))
		SAY(out->refused, "it is one of coretrap's own processes");
	else if (read(fd, ident, sizeof(ident)) == sizeof(ident) &&
		 memcmp(ident, ELFMAG, SELFMAG) == 0 && ident[EI_CLASS] == ELFCLASS32)
		SAY(out->refused, "it is a 32-bit process, which is not supported yet");
}

/* /proc/PID belongs to the process' user, unless that process may not be dumped. */
static void look_at_owner(int taskfd, const char *status, struct preflight *out)
{
	const char *uids = field(status, "\nUid:\t");
	unsigned int effective;
	struct stat st;

	if (uids && sscanf(uids, "%*u %u", &effective) == 1 &&
		fstatat(taskfd, "stat", &st, 0) == 0 && st.st_uid != effective)
		SAY(out->refused, "it is not dumpable: it said so (PR_SET_DUMPABLE), or it changed "
				  "its user");
}

/* Asked to run a call there, a thread would stand in it until somebody thaws it. */
static void look_at_freezer(int taskfd, struct preflight *out)
{
	int version = cgroup_frozen(CGROUP_ROOT, taskfd);

	if (version == 1)
		SAY(out->refused, "its cgroup is frozen: it cannot be stopped until it is thawed");
	else if (version)
		SAY(out->no_fork, "its cgroup is frozen, where a clone would not run");
}

/* The task directory of a thread that lives, the leader if it does. */
static int open_thread(const struct process *p, char **status)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int r = io_open_dir_at(p->procfd, "task", &dir);
	struct dirent *entry;

	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	while ((entry = readdir(dir)) != NULL) {
		_cleanup_free_ char *text = NULL;
		_cleanup_close_ int taskfd =
			openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		const char *state;

		if (entry->d_name[0] == '.' || taskfd < 0 ||
			io_read_file_at(taskfd, "status", 65536, &text, NULL) < 0)
			continue;
		state = field(text, "\nState:\t");
		if (!state || *state == 'Z' || *state == 'X')
			continue;
		*status = TAKE_PTR(text);
		return TAKE_FD(taskfd);
	}
	return -ENOENT;
}

int preflight_check(const struct process *p, struct preflight *out)
{
	_cleanup_free_ char *status = NULL;
	_cleanup_close_ int taskfd = open_thread(p, &status);

	*out = (struct preflight){0};
	if (taskfd == -ENOENT) {
		SAY(out->refused, "it has ended already, and waits for its parent (a zombie)");
		out->ended = true;
		return -EPERM;
	}
	if (taskfd < 0)
		return taskfd;
	preflight_read_status(status, out);
	if (!out->refused[0])
		look_at_executable(p, out);
	if (!out->refused[0])
		look_at_owner(taskfd, status, out);
	if (!out->refused[0])
		look_at_freezer(taskfd, out);
	if (out->refused[0])
		return -EPERM;
	if (!out->no_fork[0])
		look_at_namespaces(p, out);
	if (!out->no_fork[0])
		look_at_descriptors(p, out);
	if (!out->no_fork[0])
		look_for_peers(p, out);
	return 0;
}
