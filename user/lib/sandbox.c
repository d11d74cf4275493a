/* SPDX-License-Identifier: MIT */
#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define NOBODY 65534

static void release_seccomp(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

static void free_caps(cap_t *caps)
{
	if (*caps)
		cap_free(*caps);
}

static int close_others(const struct sandbox *s)
{
	_cleanup_free_ int *fds = calloc(s->keep_count + 1, sizeof(*fds));

	if (!fds)
		return -ENOMEM;
	for (size_t i = 0; i < s->keep_count; i++)
		fds[i] = s->keep[i];
	fds[s->keep_count] = s->replyfd;
	return io_close_others(fds, s->keep_count + 1);
}

/* 1 when ROOT is the whole file system now, 0 when the outer one still is (and stays out of reach).
 */
static int enter_root(const char *root)
{
	if (!root || chroot(root) < 0)
		return 0;
	return chdir("/") < 0 ? -errno : 1;
}

static int drop_privileges(void)
{
	_cleanup_(free_caps) cap_t none = cap_init();

	if (!none)
		return -ENOMEM;
	if (geteuid() == 0) {
		if (setgroups(0, NULL) < 0 && errno != EPERM)
			return -errno;
		/* EINVAL: a user namespace that does not map nobody; the capabilities go all the
		 * same. */
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL)
			return -errno;
		if (setresuid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL)
			return -errno;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	return cap_set_proc(none) < 0 ? -errno : 0;
}

static int limit(__rlimit_resource_t what, rlim_t value)
{
	struct rlimit rl = {.rlim_cur = value, .rlim_max = value};

	return setrlimit(what, &rl) < 0 ? -errno : 0;
}

static int set_limits(const struct sandbox *s)
{
	int r = limit(RLIMIT_CORE, 0);

#ifndef __SANITIZE_ADDRESS__ /* its shadow is terabytes of address space */
	if (r == 0 && s->memory_max)
		r = limit(RLIMIT_AS, s->memory_max);
#endif
	if (r == 0 && s->cpu_max)
		r = limit(RLIMIT_CPU, s->cpu_max);
	return r;
}

/* What malloc, libelf and stdio-free code need, and the ways to end (a sanitizer's has sigaltstack
 * in it). No open, no socket, no exec, no clone, no signal to another process. mmap and mprotect
 * without PROT_EXEC. */
static int add_rules(scmp_filter_ctx ctx, int replyfd, bool may_open)
{
	static const int plain[] = {SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(munmap),
		SCMP_SYS(brk), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(fstat),
		SCMP_SYS(newfstatat), SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(dup),
		SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(getpid),
		SCMP_SYS(gettid), SCMP_SYS(getrandom), SCMP_SYS(rt_sigreturn),
		SCMP_SYS(rt_sigprocmask), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
		SCMP_SYS(exit), SCMP_SYS(exit_group)};
	const struct scmp_arg_cmp is_reply = {
		.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)replyfd};
	const struct scmp_arg_cmp not_code = {
		.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0};
	const struct scmp_arg_cmp for_reading = {.arg = 2,
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = O_ACCMODE | O_CREAT | O_TRUNC | O_TMPFILE,
		.datum_b = O_RDONLY};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(plain) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, plain[i], 0);
	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, &is_reply);
	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &not_code);
	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, &not_code);
	if (r == 0 && may_open)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, &for_reading);
	return r;
}

static int load_filter(int replyfd, bool may_open)
{
	_cleanup_(release_seccomp) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!ctx)
		return -ENOMEM;
	r = add_rules(ctx, replyfd, may_open);
	/* 2, a binary tree: fewer instructions a call than one comparison after the other. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return r == 0 ? seccomp_load(ctx) : r;
}

int sandbox_enter(const struct sandbox *s)
{
	pid_t parent = getppid();
	int r = close_others(s), inside;

	if (r < 0)
		return r;
	inside = enter_root(s->root);
	r = inside < 0 ? inside : 0;
	if (r == 0)
		r = drop_privileges();
	if (r == 0)
		r = set_limits(s);
	if (r < 0)
		return r;
	/* All three after the change of ids, which resets the first two. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (getppid() != parent) /* it went before the death signal was set */
		return -ESRCH;
	return load_filter(s->replyfd, inside == 1);
}
