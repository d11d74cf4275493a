/* SPDX-License-Identifier: MIT */
/* Processes that are hard to capture: odd KIND. Each says "ready", works on, and answers a line on
 * its input with "alive N", N a count that must have grown. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "target.h"

static volatile uint64_t count, caught, wrong;

static void say(const char *word, uint64_t n)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "%s %ju\n", word, (uintmax_t)n);

	if (write(STDOUT_FILENO, text, (size_t)len) != len)
		_exit(1);
}

/* Reads and writes alone: what strict seccomp leaves. */
static void answer(void)
{
	char byte;
	ssize_t n;

	while ((n = read(STDIN_FILENO, &byte, 1)) == 1)
		if (byte == '\n') {
			count++;
			say(wrong ? "wrong" : "alive", wrong ? wrong : count);
		}
}

static void *start(void *(*body)(void *), void *arg)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	if (pthread_create(&thread, &attributes, body, arg))
		err(1, "pthread_create");
	return NULL;
}

static void blocks_sigtrap(void)
{
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void is_strict(void)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		err(1, "seccomp");
}

/* Kills whoever calls anything but what the answers need: no clone, no wait4. */
static void is_filtered(void)
{
	static const unsigned int allowed[] = {
		SYS_read, SYS_write, SYS_exit_group, SYS_rt_sigreturn, SYS_restart_syscall};
	struct sock_filter code[2 + 2 * 5 + 1] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	struct sock_fprog program = {.filter = code};
	size_t n = 1;

	for (size_t i = 0; i < 5; i++) {
		code[n++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	program.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program))
		err(1, "seccomp");
}

static void *ends(void *arg)
{
	__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
	return arg;
}

static void *churns(void *arg)
{
	for (;;) {
		pthread_t threads[4];

		for (int i = 0; i < 4; i++)
			if (pthread_create(&threads[i], NULL, ends, NULL))
				threads[i] = 0;
		for (int i = 0; i < 4; i++)
			if (threads[i])
				pthread_join(threads[i], NULL);
	}
	return arg;
}

/* Two counters a gigabyte apart that move together, each at its own page. */
static void *moves_both(void *arg)
{
	volatile uint64_t *first = arg, *last = (uint64_t *)((char *)arg + (1ul << 30) - 8);

	for (;; (*last)++)
		(*first)++;
	return NULL;
}

static void is_apart(void)
{
	void *p = mmap(NULL, 1ul << 30, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || madvise(p, 1ul << 30, MADV_NOHUGEPAGE))
		err(1, "mmap");
	start(moves_both, p);
	while (!*(volatile uint64_t *)((char *)p + (1ul << 30) - 8))
		usleep(1000);
	printf("memory %p\n", p);
	fflush(stdout);
}

/* The parent waits in vfork() until the child, which runs in its memory, has read a line. */
static void is_vfork_parent(void)
{
	pid_t child;

	say("ready", (uint64_t)getpid());
	child = vfork();
	if (child == 0) {
		char byte;

		while (read(STDIN_FILENO, &byte, 1) == 1 && byte != '\n')
			;
		_exit(0);
	}
	waitpid(child, NULL, 0);
	say("alive", 1);
}

static int shares(void *arg)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		(*(volatile uint64_t *)arg)++;
	return 0;
}

static void has_a_peer(void)
{
	static char stack[65536];
	static volatile uint64_t moved;
	pid_t peer = clone(shares, stack + sizeof(stack), CLONE_VM | SIGCHLD, (void *)&moved);

	if (peer < 0)
		err(1, "clone");
	printf("peer %d\n", peer);
	fflush(stdout);
}

static volatile int in_handler;

static noinline void handles(int signal)
{
	char byte;

	(void)signal;
	in_handler = 1;
	say("ready", (uint64_t)getpid());
	/* The answers come from here, on the other stack. */
	while (read(STDIN_FILENO, &byte, 1) == 1)
		if (byte == '\n')
			say("alive", ++count);
	_exit(0);
}

static void is_on_another_stack(void)
{
	static char bytes[1 << 16];
	const stack_t other = {.ss_sp = bytes, .ss_size = sizeof(bytes)};
	const struct sigaction act = {.sa_handler = handles, .sa_flags = SA_ONSTACK};

	sigaltstack(&other, NULL);
	sigaction(SIGUSR1, &act, NULL);
	raise(SIGUSR1);
}

static void *answers(void *arg)
{
	usleep(100000); /* the leader shall be gone */
	say("ready", (uint64_t)getpid());
	answer();
	_exit(0);
	return arg;
}

static void counts(int signal, siginfo_t *info, void *context)
{
	static int expected;

	(void)signal;
	(void)context;
	/* Queued signals come in their order. */
	if (info->si_code == SI_QUEUE && info->si_value.sival_int != expected++)
		wrong++;
	caught++;
}

static void *sleeps(void *arg)
{
	sigset_t set;

	/* One thread takes all, so that their order shows. */
	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (;;)
		poll(NULL, 0, 10);
	return arg;
}

/* A line is answered with how many signals came. */
static void catches(void)
{
	const struct sigaction act = {.sa_sigaction = counts, .sa_flags = SA_SIGINFO | SA_RESTART};
	char byte;

	sigaction(SIGRTMIN, &act, NULL);
	for (int i = 0; i < 4; i++)
		start(sleeps, NULL);
	say("ready", (uint64_t)getpid());
	while (read(STDIN_FILENO, &byte, 1) == 1)
		if (byte == '\n')
			say(wrong ? "wrong" : "caught", wrong ? wrong : caught);
	exit(0);
}

/* Writes to all of its megabytes again and again. */
static void *dirties(void *arg)
{
	size_t size = *(size_t *)arg;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	madvise(p, size, MADV_NOHUGEPAGE);
	for (unsigned int round = 1;; round++) {
		for (size_t at = 0; at < size; at += 4096)
			*(volatile unsigned int *)(p + at) = round;
		count++;
	}
	return NULL;
}

static void cause(const char *kind, int megabytes)
{
	static size_t size;

	if (strcmp(kind, "sigtrap") == 0)
		blocks_sigtrap();
	else if (strcmp(kind, "churn") == 0)
		start(churns, NULL);
	else if (strcmp(kind, "apart") == 0)
		is_apart();
	else if (strcmp(kind, "peer") == 0)
		has_a_peer();
	else if (strcmp(kind, "handler") == 0)
		is_on_another_stack();
	else if (strcmp(kind, "signals") == 0)
		catches();
	else if (strcmp(kind, "dirty") == 0) {
		size = (size_t)megabytes << 20;
		start(dirties, &size);
		while (count == 0)
			usleep(1000);
	}
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (strcmp(kind, "vfork") == 0) {
		is_vfork_parent();
		return 0;
	}
	if (strcmp(kind, "leader") == 0) {
		start(answers, NULL);
		pthread_exit(NULL);
	}
	cause(kind, argc > 2 ? atoi(argv[2]) : 0);
	say("ready", (uint64_t)getpid());
	if (strcmp(kind, "strict") == 0)
		is_strict();
	if (strcmp(kind, "filter") == 0)
		is_filtered();
	answer();
	return 0;
}
