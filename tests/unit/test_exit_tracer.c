/* SPDX-License-Identifier: MIT */
/* Real processes, held at their end. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/exit_tracer.h"
#include "leak_checker.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define PATIENCE_NS (20 * NSEC_PER_SEC) /* the machine may be busy */
#define THREADS	    20

static int go_pipe[2], said_pipe[2]; /* a byte sets the target going; what it says */

struct held_target {
	pid_t pid;
	struct process process;
	struct exit_tracer tracer;
};

static void wait_for_go(void)
{
	char byte;

	(void)!read(go_pipe[0], &byte, 1);
}

static void say(char byte)
{
	(void)!write(said_pipe[1], &byte, 1);
}

static char heard(void)
{
	char byte = 0;

	cr_assert_eq(read(said_pipe[0], &byte, 1), 1);
	return byte;
}

static struct held_target start(void (*body)(void))
{
	struct held_target h = {.process = PROCESS_NONE};

	cr_assert_eq(pipe(go_pipe), 0);
	cr_assert_eq(pipe(said_pipe), 0);
	h.pid = fork();
	if (h.pid == 0) {
		leak_checker_off = true;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		body();
		_exit(99);
	}
	cr_assert_eq(process_open(h.pid, &h.process), 0);
	return h;
}

static void arm(struct held_target *h, enum exit_wish wish, int code)
{
	char reason[FREEZE_REASON_MAX] = "";

	h->tracer = (struct exit_tracer){.process = &h->process, .wish = wish, .code = code};
	cr_assert_eq(exit_tracer_arm(&h->tracer, NULL, reason), 0, "%s", reason);
}

/* What comes next but nothing: 1 (held), -ESRCH (over). */
static int next(struct held_target *h)
{
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + PATIENCE_NS;
	int r;

	while ((r = exit_tracer_step(&h->tracer)) == 0) {
		cr_assert_lt(clock_now_ns(CLOCK_MONOTONIC), end, "neither held nor over");
		usleep(500);
	}
	return r;
}

static void run_for(struct held_target *h, unsigned int ms)
{
	for (unsigned int i = 0; i < ms; i++, usleep(1000))
		cr_assert_eq(exit_tracer_step(&h->tracer), 0);
}

static void go(void)
{
	cr_assert_eq(write(go_pipe[1], "g", 1), 1);
}

/* Held with this status and so many threads, its memory whole; then over. */
static void check_held(struct held_target *h, int status, size_t threads)
{
	char path[64], word[8] = "";
	int fd;

	cr_assert_eq(next(h), 1);
	cr_assert_eq(h->tracer.status, status, "%#x", h->tracer.status);
	cr_assert_eq(h->tracer.states.n, threads, "%zu", h->tracer.states.n);
	cr_assert_eq(h->tracer.missing, 0);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", h->pid, h->tracer.tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(pread(fd, word, 4, (off_t)(uintptr_t) "mark"), 4);
	close(fd);
	exit_tracer_release(&h->tracer);
	cr_assert_eq(next(h), -ESRCH);
}

static void end(struct held_target *h)
{
	exit_tracer_free(&h->tracer);
	process_close(&h->process);
}

static void exit_with_3(void)
{
	wait_for_go();
	_exit(3);
}

Test(exit_tracer, codes)
{
	static const struct {
		enum exit_wish wish;
		int code;
		bool held;
	} cases[] = {{EXIT_WISH_ANY, 0, true}, {EXIT_WISH_NONZERO, 0, true},
		{EXIT_WISH_CODE, 3, true}, {EXIT_WISH_CODE, 0, false}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct held_target h = start(exit_with_3);

		arm(&h, cases[i].wish, cases[i].code);
		go();
		if (cases[i].held)
			check_held(&h, 3 << 8, 1);
		else
			cr_assert_eq(next(&h), -ESRCH);
		end(&h);
	}
}

static void pause_for_ever(void)
{
	say('r');
	for (;;)
		pause();
}

Test(exit_tracer, killed_from_outside)
{
	struct held_target h = start(pause_for_ever);

	heard();
	arm(&h, EXIT_WISH_NONZERO, 0);
	kill(h.pid, SIGKILL);
	check_held(&h, SIGKILL, 1);
	end(&h);
	h = start(pause_for_ever);
	heard();
	arm(&h, EXIT_WISH_ANY, 0);
	kill(h.pid, SIGTERM);
	check_held(&h, SIGTERM, 1);
	end(&h);
}

static void on_segv(int sig)
{
	(void)sig;
	say('h');
	_exit(7);
}

static void crash_with_handler(void)
{
	signal(SIGSEGV, on_segv);
	wait_for_go();
	raise(SIGSEGV);
}

Test(exit_tracer, crash_that_is_handled)
{
	struct held_target h = start(crash_with_handler);

	arm(&h, EXIT_WISH_NONZERO, 0);
	go();
	check_held(&h, 7 << 8, 1);
	cr_assert_eq(heard(), 'h');
	end(&h);
}

/* ---- threads ---- */

static void *idle(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void *exit_for_all(void *arg)
{
	(void)arg;
	wait_for_go();
	exit(5);
}

static void *leave(void *arg)
{
	return arg;
}

static void start_threads(int n, void *(*body)(void *))
{
	pthread_t thread;

	for (int i = 0; i < n; i++)
		pthread_create(&thread, NULL, body, NULL);
}

static void many_threads(void)
{
	start_threads(THREADS - 2, idle);
	start_threads(1, exit_for_all);
	pause_for_ever();
}

Test(exit_tracer, all_threads_are_held)
{
	struct held_target h = start(many_threads);

	heard();
	arm(&h, EXIT_WISH_CODE, 5);
	go();
	check_held(&h, 5 << 8, THREADS);
	cr_assert_neq(h.tracer.tid, h.pid, "the thread that called exit comes first");
	end(&h);
	h = start(many_threads);
	heard();
	arm(&h, EXIT_WISH_ANY, 0);
	kill(h.pid, SIGKILL);
	check_held(&h, SIGKILL, THREADS);
	cr_assert_eq(h.tracer.tid, h.pid);
	end(&h);
}

static void threads_come_and_go(void)
{
	pthread_t thread;

	say('r');
	wait_for_go();
	for (int i = 0; i < 200; i++) {
		pthread_create(&thread, NULL, leave, NULL);
		pthread_join(thread, NULL);
	}
	say('j');
	start_threads(3, idle);
	wait_for_go();
	exit(0);
}

/* Born behind the arming, and followed; gone while others live, and not held for it. */
Test(exit_tracer, threads_that_come_and_go)
{
	struct held_target h = start(threads_come_and_go);

	heard();
	arm(&h, EXIT_WISH_ANY, 0);
	go();
	fcntl(said_pipe[0], F_SETFL, O_NONBLOCK);
	for (char byte = 0; byte != 'j'; usleep(100)) {
		cr_assert_eq(exit_tracer_step(&h.tracer), 0);
		(void)!read(said_pipe[0], &byte, 1);
	}
	run_for(&h, 50);
	go();
	check_held(&h, 0, 4);
	end(&h);
}

static void *exit_later(void *arg)
{
	wait_for_go();
	return arg;
}

static void main_leaves_first(void)
{
	start_threads(1, exit_later);
	say('r');
	pthread_exit(NULL);
}

Test(exit_tracer, main_that_left_before)
{
	struct held_target h = start(main_leaves_first);

	heard();
	arm(&h, EXIT_WISH_ANY, 0);
	run_for(&h, 50);
	go();
	check_held(&h, 0, 1);
	end(&h);
}

static void *exec_another(void *arg)
{
	(void)arg;
	wait_for_go();
	execl("/bin/sh", "sh", "-c", "read x; exit 6", NULL);
	_exit(98);
}

static void thread_executes(void)
{
	dup2(go_pipe[0], STDIN_FILENO);
	start_threads(3, idle);
	start_threads(1, exec_another);
	pause_for_ever();
}

/* Its other threads end with 0, and must not be waited for. */
Test(exit_tracer, exec_in_between)
{
	struct held_target h = start(thread_executes);
	uint64_t begin;

	heard();
	arm(&h, EXIT_WISH_ANY, 0);
	go();
	begin = clock_now_ns(CLOCK_MONOTONIC);
	for (char comm[16] = "", path[32]; strcmp(comm, "sh\n") != 0; usleep(1000)) {
		int fd;

		cr_assert_eq(exit_tracer_step(&h.tracer), 0, "held at its exec");
		cr_assert_lt(clock_now_ns(CLOCK_MONOTONIC) - begin, PATIENCE_NS);
		snprintf(path, sizeof(path), "/proc/%d/comm", h.pid);
		fd = open(path, O_RDONLY);
		memset(comm, 0, sizeof(comm));
		(void)!read(fd, comm, sizeof(comm) - 1);
		close(fd);
	}
	cr_assert_eq(write(go_pipe[1], "\n", 1), 1);
	cr_assert_eq(next(&h), 1);
	cr_assert_eq(h.tracer.status, 6 << 8, "%#x", h.tracer.status);
	cr_assert_eq(h.tracer.states.n, 1);
	exit_tracer_release(&h.tracer);
	cr_assert_eq(next(&h), -ESRCH);
	end(&h);
}

static void has_children(void)
{
	pid_t pid;

	wait_for_go();
	pid = fork();
	if (pid == 0)
		_exit(1);
	waitpid(pid, NULL, 0);
	pid = vfork();
	if (pid == 0)
		_exit(2);
	waitpid(pid, NULL, 0);
	pid = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0); /* no SIGCHLD: to ptrace it is a clone */
	if (pid == 0)
		_exit(3);
	waitpid(pid, NULL, __WALL);
	_exit(4);
}

Test(exit_tracer, children_are_let_alone)
{
	struct held_target h = start(has_children);

	arm(&h, EXIT_WISH_NONZERO, 0);
	go();
	check_held(&h, 4 << 8, 1);
	end(&h);
}

static volatile sig_atomic_t usr1_count;

static void on_usr1(int sig)
{
	(void)sig;
	usr1_count++;
}

static void count_signals(void)
{
	signal(SIGUSR1, on_usr1);
	say('r');
	while (usr1_count < 20)
		pause();
	_exit(usr1_count);
}

static char state_of(pid_t pid)
{
	char path[32], text[512] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	(void)!read(fd, text, sizeof(text) - 1);
	close(fd);
	return *text ? strrchr(text, ')')[2] : '-';
}

Test(exit_tracer, signals_and_stops_are_passed_on)
{
	struct held_target h = start(count_signals);

	heard();
	arm(&h, EXIT_WISH_ANY, 0);
	for (int i = 0; i < 10; i++) {
		kill(h.pid, SIGUSR1);
		run_for(&h, 5);
	}
	kill(h.pid, SIGSTOP);
	run_for(&h, 100);
	cr_assert_eq(state_of(h.pid), 't', "%c", state_of(h.pid)); /* stopped, with a tracer */
	kill(h.pid, SIGUSR1);
	run_for(&h, 50);
	cr_assert_eq(state_of(h.pid), 't', "a stop is to last");
	kill(h.pid, SIGCONT);
	run_for(&h, 50);
	cr_assert_eq(state_of(h.pid), 'S');
	for (int i = 0; i < 9; i++) {
		run_for(&h, 5);
		kill(h.pid, SIGUSR1);
	}
	check_held(&h, 20 << 8, 1);
	end(&h);
}

Test(exit_tracer, tracer_that_dies)
{
	for (int held = 0; held < 2; held++) {
		struct held_target h = start(exit_with_3);
		int status;
		pid_t tracer = fork();

		if (tracer == 0) {
			arm(&h, EXIT_WISH_ANY, 0);
			say('a');
			if (held && next(&h) == 1)
				say('h');
			pause_for_ever();
		}
		cr_assert_eq(heard(), 'a');
		if (held) {
			go();
			cr_assert_eq(heard(), 'h');
			cr_assert_eq(waitpid(h.pid, &status, WNOHANG), 0, "it is held");
		}
		kill(tracer, SIGKILL);
		waitpid(tracer, NULL, 0);
		if (!held)
			go();
		cr_assert_eq(waitpid(h.pid, &status, 0), h.pid);
		cr_assert_eq(status, 3 << 8);
		end(&h);
	}
}

Test(exit_tracer, process_with_another_tracer)
{
	struct held_target h = start(pause_for_ever);
	char reason[FREEZE_REASON_MAX] = "";
	pid_t tracer;

	heard();
	tracer = fork();
	if (tracer == 0) {
		if (ptrace(PTRACE_SEIZE, h.pid, NULL, NULL) == 0)
			say('s');
		pause_for_ever();
	}
	cr_assert_eq(heard(), 's');
	h.tracer = (struct exit_tracer){.process = &h.process, .wish = EXIT_WISH_ANY};
	cr_assert_eq(exit_tracer_arm(&h.tracer, NULL, reason), -EPERM);
	cr_assert_not_null(strstr(reason, "is traced by process"), "%s", reason);
	kill(tracer, SIGKILL);
	kill(h.pid, SIGKILL);
	end(&h);
}
