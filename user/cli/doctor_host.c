/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/doctor_check.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/text.h"
#include "store/store.h"

#define FREE_LEAST_PERCENT 15 /* DESIGN.md, section 3 */

/* The first line of PATH into BUF; false if it cannot be read. */
static bool read_line(const char *path, char *buf, size_t size)
{
	_cleanup_free_ char *text = NULL;

	if (io_read_file_at(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return false;
	snprintf(buf, size, "%.*s", (int)strcspn(text, "\n"), text);
	return true;
}

void doctor_kernel(const struct doctor *d, const char *subject, struct finding *f)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	(void)d;
	(void)subject;
	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		finding_set(f, VERDICT_DEGRADED, "its version is not known");
	else
		finding_set(f,
			major > 5 || (major == 5 && minor >= 10) ? VERDICT_OK : VERDICT_MISSING,
			"%s, %s", u.release, u.machine);
}

void doctor_root(const struct doctor *d, const char *subject, struct finding *f)
{
	(void)d;
	(void)subject;
	finding_set(f, geteuid() == 0 ? VERDICT_OK : VERDICT_MISSING, "user %u", geteuid());
}

static bool has_capability(cap_t caps, cap_value_t cap)
{
	cap_flag_value_t value = CAP_CLEAR;

	return cap_get_flag(caps, cap, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
}

void doctor_capability(const struct doctor *d, const char *subject, struct finding *f)
{
	cap_t caps = cap_get_proc();
	cap_value_t cap;

	(void)d;
	if (!caps || cap_from_name(subject, &cap) < 0)
		finding_set(f, VERDICT_MISSING, "not known here");
	else if (has_capability(caps, cap))
		finding_set(f, VERDICT_OK, "held");
	/* CAP_BPF and CAP_PERFMON were split off from it. */
	else if ((cap == CAP_BPF || cap == CAP_PERFMON) && has_capability(caps, CAP_SYS_ADMIN))
		finding_set(f, VERDICT_OK, "covered by cap_sys_admin");
	else
		finding_set(f, VERDICT_MISSING, "not held");
	cap_free(caps);
}

void doctor_lockdown(const struct doctor *d, const char *subject, struct finding *f)
{
	char line[128];

	(void)d;
	(void)subject;
	if (!read_line("/sys/kernel/security/lockdown", line, sizeof(line)))
		finding_set(f, VERDICT_OK, "none");
	else
		finding_set(f, strstr(line, "[confidentiality]") ? VERDICT_MISSING : VERDICT_OK,
			"%s", line);
}

void doctor_seccomp(const struct doctor *d, const char *subject, struct finding *f)
{
	_cleanup_free_ char *status = NULL;
	const char *mode;

	(void)d;
	(void)subject;
	if (io_read_file_at(AT_FDCWD, "/proc/self/status", 65536, &status, NULL) < 0 ||
		!(mode = strstr(status, "\nSeccomp:"))) {
		finding_set(f, VERDICT_OK, "not known to this kernel");
		return;
	}
	mode += strlen("\nSeccomp:");
	if (strtoul(mode, NULL, 10) == 0)
		finding_set(f, VERDICT_OK, "no filter on coretrap");
	else
		finding_set(f, VERDICT_DEGRADED, "coretrap runs under a filter");
}

void doctor_core_pattern(const struct doctor *d, const char *subject, struct finding *f)
{
	char line[256], program[256];

	(void)d;
	(void)subject;
	if (!read_line("/proc/sys/kernel/core_pattern", line, sizeof(line))) {
		finding_set(f, VERDICT_MISSING, "cannot be read");
		return;
	}
	snprintf(program, sizeof(program), "%.*s", (int)strcspn(line, " "), line);
	if (line[0] != '|')
		finding_set(
			f, VERDICT_OK, "a file, '%s'; still served while coretrap is armed", line);
	else if (access(program + 1, X_OK) < 0)
		finding_set(f, VERDICT_DEGRADED, "of %s, which cannot be run", program + 1);
	else if (strstr(line, " core-handler"))
		finding_set(f, VERDICT_OK, "coretrap's: %s", line);
	else
		finding_set(
			f, VERDICT_OK, "of %s; still served while coretrap is armed", program + 1);
}

void doctor_sysctl(const struct doctor *d, const char *subject, struct finding *f)
{
	char path[128], line[128];

	(void)d;
	snprintf(path, sizeof(path), "/proc/sys/%s", subject);
	if (!read_line(path, line, sizeof(line)))
		finding_set(f, VERDICT_MISSING, "cannot be read");
	else if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
		finding_set(f, VERDICT_MISSING, "cannot be written: %s", strerror(errno));
	else
		finding_set(f, VERDICT_OK, "'%s', can be set", line);
}

void doctor_ptrace_scope(const struct doctor *d, const char *subject, struct finding *f)
{
	char line[32];

	(void)d;
	(void)subject;
	if (!read_line("/proc/sys/kernel/yama/ptrace_scope", line, sizeof(line)))
		finding_set(f, VERDICT_OK, "none");
	else
		finding_set(f, strcmp(line, "3") == 0 ? VERDICT_MISSING : VERDICT_OK, "%s", line);
}

void doctor_store(const struct doctor *d, const char *subject, struct finding *f)
{
	_cleanup_store_ struct store s = STORE_NONE;
	const char *path = d->store ? d->store : STORE_DEFAULT_PATH;
	struct stat st;
	int r = store_open(path, false, &s);

	(void)subject;
	if (r == -ENOENT)
		finding_set(f, VERDICT_OK, "%s is made when it is needed", path);
	else if (r < 0)
		finding_set(f, VERDICT_MISSING, "%s: %s", path, store_strerror(r));
	else if (store_check_space(&s, 0, 0) == -EROFS)
		finding_set(f, VERDICT_MISSING, "%s: the file system is read-only", path);
	else if (fstat(s.dirfd, &st) == 0 && (st.st_mode & 077))
		finding_set(f, VERDICT_DEGRADED, "%s: mode %04o, others see the names of captures",
			path, st.st_mode & 07777);
	else
		finding_set(f, VERDICT_OK, "%s", path);
}

/* The store's file system, or that of the nearest directory above it. */
static int space(const char *path, uint64_t *available, uint64_t *total)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_free_ char *up = strdup(path);
	int r = up ? -ENOENT : -ENOMEM;

	while (r == -ENOENT) {
		char *slash = strrchr(up, '/');

		s.dirfd = open(*up ? up : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = s.dirfd < 0 ? -errno : store_space(&s, available, total);
		if (r != -ENOENT || !slash)
			break;
		*slash = '\0';
	}
	return r;
}

void doctor_space(const struct doctor *d, const char *subject, struct finding *f)
{
	uint64_t available = 0, total = 0;
	char a[32], t[32];
	int r = space(d->store ? d->store : STORE_DEFAULT_PATH, &available, &total);

	(void)subject;
	if (r < 0)
		finding_set(f, VERDICT_MISSING, "%s", store_strerror(r));
	else
		finding_set(f,
			available / 100 * 100 < total / 100 * FREE_LEAST_PERCENT ? VERDICT_DEGRADED
										 : VERDICT_OK,
			"%s of %s free", text_format_size(available, a, sizeof(a)),
			text_format_size(total, t, sizeof(t)));
}

static bool in_path(const char *program, char *out, size_t size)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *copy = strdup(path ? path : "/usr/bin:/bin");
	char *rest = NULL;

	for (char *dir = copy ? strtok_r(copy, ":", &rest) : NULL; dir;
		dir = strtok_r(NULL, ":", &rest)) {
		snprintf(out, size, "%s/%s", dir, program);
		if (access(out, X_OK) == 0)
			return true;
	}
	return false;
}

void doctor_debugger(const struct doctor *d, const char *subject, struct finding *f)
{
	char path[128];

	(void)d;
	(void)subject;
	if (in_path("gdb", path, sizeof(path)) || in_path("lldb", path, sizeof(path)))
		finding_set(f, VERDICT_OK, "%s", path);
	else
		finding_set(f, VERDICT_MISSING, "neither gdb nor lldb in PATH");
}
