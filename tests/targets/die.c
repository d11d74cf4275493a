/* SPDX-License-Identifier: MIT */
/* Dies, or lives on, in the way its argument names. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "target.h"

static noinline void reads_null(void)
{
	*(volatile int *)8;
	__asm__ volatile("");
}

static noinline void divides_by_zero(void)
{
	volatile int zero = 0, one = 1;

	one = one / zero;
}

static noinline int overflows_stack(int n)
{
	volatile char block[4096];

	memset((char *)block, n, sizeof(block));
	return overflows_stack(n + 1) + block[n & 4095];
}

/* Past the end of a file that was cut: SIGBUS. */
static noinline void reads_cut_file(void)
{
	int fd = memfd_create("cut", MFD_CLOEXEC);
	volatile char *p;

	if (fd < 0 || ftruncate(fd, 8192))
		err(1, "memfd");
	p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || ftruncate(fd, 0))
		err(1, "mmap");
	(void)p[4096];
}

static void executes_data(void)
{
	static char data[64] __attribute__((aligned(64)));

	((void (*)(void))data)();
}

static sigjmp_buf back;

static void jump_back(int sig)
{
	siglongjmp(back, sig);
}

/* A handled SIGSEGV N times, then a normal exit: nothing died. */
static int handles(int n)
{
	struct sigaction sa = {.sa_handler = jump_back};

	sigaction(SIGSEGV, &sa, NULL);
	for (volatile int i = 0; i < n; i++)
		if (sigsetjmp(back, 1) == 0)
			reads_null();
	dprintf(STDOUT_FILENO, "handled %d\n", n);
	return 0;
}

/* A general protection fault right after a page fault that a handler took: no stack overflow. */
static void protection_fault_after_fault(void)
{
	handles(1);
	signal(SIGSEGV, SIG_DFL);
	*(volatile int *)0x8000000000000000UL;
}

/* A signal that nobody sent, though a handler took one before that somebody did send. */
static void alarm_after_kill(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	struct itimerspec soon = {.it_value.tv_nsec = 50000000};
	timer_t timer;

	signal(SIGALRM, jump_back);
	if (sigsetjmp(back, 1) == 0)
		kill(getpid(), SIGALRM);
	signal(SIGALRM, SIG_DFL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &soon, NULL))
		err(1, "timer");
	for (;;)
		pause();
}

static void handler(int sig)
{
	(void)sig;
}

/* A handler that would need the stack that has just run out. */
static void overflows_handled(void)
{
	struct sigaction sa = {.sa_handler = handler};

	sigaction(SIGSEGV, &sa, NULL);
	overflows_stack(0);
}

static void breaks_pipe(void)
{
	int fds[2];

	if (pipe(fds))
		err(1, "pipe");
	close(fds[0]);
	(void)!write(fds[1], "x", 1);
}

static void *sleeps(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void start(void *(*body)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, arg))
		errx(1, "pthread_create");
}

static void *execs(void *arg)
{
	char *const argv[] = {"true", NULL};

	execv("/bin/true", argv);
	return arg;
}

static void exec_from_thread(void)
{
	for (int i = 0; i < 8; i++)
		start(sleeps, NULL);
	start(execs, NULL);
	sleeps(NULL);
}

static void exits_with_threads(void)
{
	for (int i = 0; i < 32; i++)
		start(sleeps, NULL);
	usleep(20000);
	syscall(SYS_exit_group, 7);
}

/* getppid is the forbidden call. */
static void forbid(unsigned int action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		err(1, "seccomp");
}

static void *calls_forbidden(void *arg)
{
	forbid((unsigned int)(unsigned long)arg);
	syscall(SYS_getppid);
	return NULL;
}

static void *crashes_later(void *arg)
{
	usleep(200000);
	reads_null();
	return arg;
}

/* Nothing has died, and the process goes on: a record for it would be wrong. */
static int seccomp_errno(void)
{
	forbid(SECCOMP_RET_ERRNO | EPERM);
	if (syscall(SYS_getppid) != -1)
		return 1;
	dprintf(STDOUT_FILENO, "alive\n");
	return 0;
}

static int seccomp_thread(void)
{
	pthread_t thread;

	if (pthread_create(
		    &thread, NULL, calls_forbidden, (void *)(unsigned long)SECCOMP_RET_KILL_THREAD))
		return 1;
	usleep(300000);
	dprintf(STDOUT_FILENO, "alive\n");
	return 0;
}

static void core_limit(rlim_t soft, rlim_t hard)
{
	struct rlimit limit = {soft, hard};

	if (setrlimit(RLIMIT_CORE, &limit))
		err(1, "setrlimit");
}

/* Drops root by setuid, as daemons do: not dumpable any more while fs.suid_dumpable is 0. */
static noinline void drops_root(void)
{
	if (setgid(65534) || setuid(65534))
		err(1, "setuid");
	reads_null();
}

static int die(const char *way, const char *arg)
{
	if (strcmp(way, "segv") == 0)
		reads_null();
	else if (strcmp(way, "abort") == 0)
		abort();
	else if (strcmp(way, "fpe") == 0)
		divides_by_zero();
	else if (strcmp(way, "bus") == 0)
		reads_cut_file();
	else if (strcmp(way, "exec-data") == 0)
		executes_data();
	else if (strcmp(way, "overflow") == 0)
		return overflows_stack(0);
	else if (strcmp(way, "overflow-handled") == 0)
		overflows_handled();
	else if (strcmp(way, "handled") == 0)
		return handles(atoi(arg));
	else if (strcmp(way, "gp-after-fault") == 0)
		protection_fault_after_fault();
	else if (strcmp(way, "alarm") == 0)
		alarm_after_kill();
	else if (strcmp(way, "term") == 0)
		raise(SIGTERM);
	else if (strcmp(way, "pipe") == 0)
		breaks_pipe();
	else if (strcmp(way, "exec-thread") == 0)
		exec_from_thread();
	else if (strcmp(way, "exit-group") == 0)
		exits_with_threads();
	else if (strcmp(way, "seccomp-process") == 0)
		calls_forbidden((void *)(unsigned long)SECCOMP_RET_KILL_PROCESS);
	else if (strcmp(way, "seccomp-thread") == 0)
		return seccomp_thread();
	else if (strcmp(way, "seccomp-errno") == 0)
		return seccomp_errno();
	else if (strcmp(way, "drop-root") == 0)
		drops_root();
	else if (strcmp(way, "exit") == 0)
		return atoi(arg);
	else
		errx(2, "unknown way: %s", way);
	return 0;
}

/* What holds before the death: more than one may be named, each before the way to die. */
static int prepare(const char *what)
{
	if (strcmp(what, "not-dumpable") == 0)
		return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
	if (strcmp(what, "core-1") == 0)
		return core_limit(1, 1), 1;
	if (strcmp(what, "core-soft-0") == 0)
		return core_limit(0, RLIM_INFINITY), 1;
	if (strcmp(what, "core-hard-0") == 0)
		return core_limit(0, 0), 1;
	if (strncmp(what, "name=", 5) == 0)
		return prctl(PR_SET_NAME, what + 5, 0, 0, 0) == 0;
	return 0;
}

int main(int argc, char **argv)
{
	target_ready(&argc, &argv);
	argv++;
	while (*argv && prepare(*argv))
		argv++;
	if (!*argv)
		errx(2, "no way to die");
	if (strcmp(*argv, "leader-exits") == 0) {
		start(crashes_later, NULL);
		pthread_exit(NULL);
	}
	if (strcmp(*argv, "sleep") == 0)
		sleeps(NULL);
	return die(argv[0], argv[1] ? argv[1] : "0");
}
