/* SPDX-License-Identifier: MIT */
/* Makes one blocking system call again and again, and writes down what each returned and after what
 * time, into a file that the test maps: calls KIND MILLISECONDS FILE. Around each call the program
 * fills registers with a pattern; behind it, it looks whether they, the unused part of its stack
 * and its memory are what they were. A process that finds itself to be another (a clone that was
 * let run) says so and goes no further. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "target.h"

#define LOG_MAX	   65536
#define COMPUTE	   (-1) /* in the place of a call's number */
#define MEMORY	   (1u << 18)
#define STACK_LOOK 65536 /* bytes at the bottom of the stack, which it never reaches */
#define PATTERN	   0x5a17c0de0badf00dull

struct log { /* test_dump_calls.py knows this layout */
	volatile uint64_t n, stop, began_ns, damage, strangers, stack_damage;
	struct entry {
		uint64_t began_ns, ended_ns;
		int64_t result;
	} calls[LOG_MAX];
};

static struct log *seen;
static pid_t self;
static uint32_t memory[MEMORY / 4];
static const uint8_t *stack_low;
static uint64_t memory_sum, stack_sum;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t sum(const void *bytes, size_t size)
{
	const uint64_t *v = bytes;
	uint64_t result = 14695981039346656037u;

	for (size_t i = 0; i < size / 8; i++)
		result = (result ^ v[i]) * 1099511628211u;
	return result;
}

static const uint8_t *find_stack(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long low = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "[stack]"))
			low = strtoul(line, NULL, 16);
	if (!low)
		errx(1, "no stack");
	fclose(f);
	return (const uint8_t *)low;
}

/* The call, with a pattern in every register that it must not change: *DAMAGED if one has. */
static int64_t call(long nr, const uint64_t a[6], bool *damaged)
{
	register uint64_t r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4],
			      r9 __asm__("r9") = a[5];
	uint64_t result = (uint64_t)nr, wrong = 0, rdi = a[0], rsi = a[1], rdx = a[2];

	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t" /* beyond the red zone */
			 "push %%rbx; push %%r12; push %%r13; push %%r14; push %%r15\n\t"
			 "movabs %[pattern], %%rbx\n\t"
			 "lea 1(%%rbx), %%r12\n\tlea 2(%%rbx), %%r13\n\t"
			 "lea 3(%%rbx), %%r14\n\tlea 4(%%rbx), %%r15\n\t"
			 "movq %%rbx, %%xmm0\n\tmovq %%r12, %%xmm7\n\tmovq %%r13, %%xmm15\n\t"
			 "syscall\n\t"
			 "movabs %[pattern], %%rcx\n\txor %%r11, %%r11\n\t"
			 "xor %%rcx, %%rbx\n\tor %%rbx, %%r11\n\t"
			 "lea 1(%%rcx), %%rbx\n\txor %%rbx, %%r12\n\tor %%r12, %%r11\n\t"
			 "movq %%xmm7, %%r12\n\txor %%rbx, %%r12\n\tor %%r12, %%r11\n\t"
			 "lea 2(%%rcx), %%rbx\n\txor %%rbx, %%r13\n\tor %%r13, %%r11\n\t"
			 "movq %%xmm15, %%r13\n\txor %%rbx, %%r13\n\tor %%r13, %%r11\n\t"
			 "movq %%xmm0, %%r12\n\txor %%rcx, %%r12\n\tor %%r12, %%r11\n\t"
			 "lea 3(%%rcx), %%rbx\n\txor %%rbx, %%r14\n\tor %%r14, %%r11\n\t"
			 "lea 4(%%rcx), %%rbx\n\txor %%rbx, %%r15\n\tor %%r15, %%r11\n\t"
			 "pop %%r15; pop %%r14; pop %%r13; pop %%r12; pop %%rbx\n\t"
			 "lea 128(%%rsp), %%rsp\n\tmov %%r11, %[wrong]"
			 : "+a"(result), [wrong] "=&r"(wrong), "+D"(rdi), "+S"(rsi), "+d"(rdx),
			 "+r"(r10), "+r"(r8), "+r"(r9)
			 : [pattern] "i"(PATTERN)
			 : "rcx", "r11", "xmm0", "xmm7", "xmm15", "memory", "cc");
	*damaged = wrong != 0;
	return (int64_t)result;
}

static int timer_pipe(int ms)
{
	int ends[2];
	char byte = 0;

	/* Whoever writes a byte each time it is asked for one, MS later. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		err(1, "socketpair");
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		while (read(ends[1], &byte, 1) == 1) {
			usleep((unsigned int)ms * 1000);
			if (write(ends[1], &byte, 1) != 1)
				break;
		}
		_exit(0);
	}
	close(ends[1]);
	return ends[0];
}

static struct timespec full_time, wait_time;
static struct timeval select_time;
static struct epoll_event event;
static struct pollfd nothing;
static struct sembuf taken = {.sem_op = -1};
static uint32_t word;
static uint64_t no_signals, one_signal = 1ull << (SIGUSR2 - 1);
static int asked = -1; /* to be asked for a byte before each call */
static char buffer[16];

static uint64_t address(const volatile void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* Those that wait for a peer. */
static long prepare_socket(const char *kind, int ms, uint64_t a[6], int64_t *expected)
{
	struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	int fd = timer_pipe(ms);

	a[0] = (uint64_t)fd;
	a[1] = address(buffer);
	a[2] = 1;
	if (strcmp(kind, "recv_timeout") == 0) {
		if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
			err(1, "SO_RCVTIMEO");
		*expected = -EAGAIN;
		return SYS_recvfrom;
	}
	asked = fd;
	*expected = 1;
	if (strcmp(kind, "recv") == 0)
		return SYS_recvfrom;
	if (strcmp(kind, "read") == 0)
		return SYS_read;
	errx(2, "%s: no such kind", kind);
}

/* Those that wait for an object of their own. */
static long prepare_object(const char *kind, int ms, uint64_t a[6], int64_t *expected)
{
	int fd;

	if (strcmp(kind, "epoll_wait") == 0 || strcmp(kind, "epoll_pwait2") == 0) {
		bool in_memory = kind[6] == 'p';

		a[0] = (uint64_t)epoll_create1(EPOLL_CLOEXEC);
		a[1] = address(&event);
		a[2] = 1;
		a[3] = in_memory ? address(&wait_time) : (uint64_t)ms;
		return in_memory ? SYS_epoll_pwait2 : SYS_epoll_wait;
	}
	if (strcmp(kind, "semtimedop") == 0) {
		fd = semget(IPC_PRIVATE, 1, 0600);
		a[0] = (uint64_t)fd;
		a[1] = address(&taken);
		a[2] = 1;
		a[3] = address(&wait_time);
		*expected = -EAGAIN;
		return SYS_semtimedop;
	}
	if (strcmp(kind, "sigtimedwait") == 0) {
		a[0] = address(&one_signal);
		a[2] = address(&wait_time);
		a[3] = 8;
		*expected = -EAGAIN;
		return SYS_rt_sigtimedwait;
	}
	return prepare_socket(kind, ms, a, expected);
}

/* The call of KIND, which takes MS: its number, arguments, and what it returns. */
static long prepare(const char *kind, int ms, uint64_t a[6], int64_t *expected)
{
	full_time = (struct timespec){ms / 1000, ms % 1000 * 1000000L};
	*expected = 0;
	if (strcmp(kind, "nanosleep") == 0) {
		a[0] = address(&wait_time);
		return SYS_nanosleep;
	}
	if (strcmp(kind, "clock_nanosleep") == 0) {
		a[0] = CLOCK_MONOTONIC;
		a[2] = address(&wait_time);
		return SYS_clock_nanosleep;
	}
	if (strcmp(kind, "poll") == 0) {
		a[0] = address(&nothing);
		a[2] = (uint64_t)ms;
		return SYS_poll;
	}
	if (strcmp(kind, "ppoll") == 0) {
		a[0] = address(&nothing);
		a[2] = address(&wait_time);
		a[3] = address(&no_signals);
		a[4] = 8;
		return SYS_ppoll;
	}
	if (strcmp(kind, "select") == 0) {
		a[4] = address(&select_time);
		return SYS_select;
	}
	if (strcmp(kind, "futex") == 0) {
		a[0] = address(&word);
		a[1] = FUTEX_WAIT_PRIVATE;
		a[3] = address(&wait_time);
		*expected = -ETIMEDOUT;
		return SYS_futex;
	}
	return prepare_object(kind, ms, a, expected);
}

static void check(bool damaged)
{
	if (syscall(SYS_getpid) != self) {
		seen->strangers++;
		_exit(77);
	}
	if (damaged || sum(memory, sizeof(memory)) != memory_sum)
		seen->damage++;
	if (sum(stack_low, STACK_LOOK) != stack_sum)
		seen->stack_damage++;
}

static void one_call(long nr, const uint64_t a[6])
{
	struct entry *e = &seen->calls[seen->n % LOG_MAX];
	char byte = 0;
	bool damaged;

	/* The kernel writes back what was left of them. */
	wait_time = full_time;
	select_time =
		(struct timeval){.tv_sec = full_time.tv_sec, .tv_usec = full_time.tv_nsec / 1000};
	/* The peer's time begins once it is asked, though we be stopped before we wait for it. */
	e->began_ns = now_ns();
	seen->began_ns = e->began_ns;
	if (asked >= 0 && write(asked, &byte, 1) != 1)
		err(1, "write");
	e->result = call(nr, a, &damaged);
	e->ended_ns = now_ns();
	seen->n++;
	check(damaged);
}

/* Computes instead of waiting: no call at all but the clock's, which the kernel does not see. */
static void compute(int ms)
{
	struct entry *e = &seen->calls[seen->n % LOG_MAX];
	volatile double x = 1.0, y = 3.0;

	e->began_ns = now_ns();
	seen->began_ns = e->began_ns;
	while (now_ns() - e->began_ns < (uint64_t)ms * 1000000u)
		for (int i = 0; i < 1000; i++)
			x = x * y / 3.0;
	e->ended_ns = now_ns();
	e->result = 0;
	seen->n++;
	check(x != 1.0);
}

int main(int argc, char **argv)
{
	uint64_t a[6] = {0};
	int64_t expected = 0;
	int ms, fd;
	long nr;

	if (argc != 4)
		errx(2, "calls KIND MILLISECONDS FILE");
	ms = atoi(argv[2]);
	fd = open(argv[3], O_RDWR | O_CLOEXEC);
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || seen == MAP_FAILED)
		err(1, "%s", argv[3]);
	close(fd);
	self = getpid();
	for (size_t i = 0; i < MEMORY / 4; i++)
		memory[i] = (uint32_t)(i * 2654435761u);
	memory_sum = sum(memory, sizeof(memory));
	nr = strcmp(argv[1], "compute") == 0 ? COMPUTE : prepare(argv[1], ms, a, &expected);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigprocmask(SIG_BLOCK, &(sigset_t){{one_signal}}, NULL);
	stack_low = find_stack();
	stack_sum = sum(stack_low, STACK_LOOK);
	printf("ready %d\nexpected %jd\n", self, (intmax_t)expected);
	fflush(stdout);
	while (!seen->stop)
		if (nr != COMPUTE)
			one_call(nr, a);
		else
			compute(ms);
	if (nr == SYS_semtimedop)
		semctl((int)a[0], 0, IPC_RMID);
	return seen->damage || seen->strangers;
}
