/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/sandbox.h"
#include "target/memory.h"
#include "target/unwind.h"
#include "target/unwind_reply.h"

#define NOINLINE __attribute__((noinline, noclone))

static int *volatile nowhere = (int *)8; /* not 0, which sanitizers would report */
static void (*volatile wild)(void);
static volatile int deep_end;

/* What follows each call keeps it from being a jump. */
static NOINLINE int inner(int n)
{
	return *nowhere + n;
}

static NOINLINE int outer(int n)
{
	return inner(n + 1) + 1;
}

static NOINLINE void crash_plain(void)
{
	deep_end = outer(1);
}

static NOINLINE void crash_wild(void)
{
	wild();
	deep_end = 1;
}

static void on_signal(int sig)
{
	deep_end = outer(sig);
}

static NOINLINE void crash_in_handler(void)
{
	signal(SIGUSR1, on_signal);
	kill(getpid(), SIGUSR1);
	deep_end = 1;
}

static NOINLINE int descend(int n)
{
	volatile char room[512];

	room[n & 511] = (char)n;
	return n == 0 ? *nowhere : descend(n - 1) + room[n & 511];
}

static NOINLINE void crash_deep(void)
{
	deep_end = descend(200);
}

/* A process of this very program, held where it crashed. */
struct held {
	pid_t pid;
	int procfd, memfd;
	struct maps maps;
	struct thread_registers thread;
};

static void hold(void (*crash)(void), struct held *h)
{
	struct iovec iov = {&h->thread.regs, sizeof(h->thread.regs)};
	char path[32];
	int status;

	h->pid = fork();
	if (h->pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* the test runner's own handler */
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		crash();
		_exit(0);
	}
	for (;;) {
		cr_assert_eq(waitpid(h->pid, &status, 0), h->pid);
		cr_assert(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSEGV)
			break;
		ptrace(PTRACE_CONT, h->pid, NULL, (long)WSTOPSIG(status));
	}
	h->thread.tid = h->pid;
	cr_assert_eq(ptrace(PTRACE_GETREGSET, h->pid, NT_PRSTATUS, &iov), 0);
	snprintf(path, sizeof(path), "/proc/%d", (int)h->pid);
	h->procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	h->memfd = openat(h->procfd, "mem", O_RDONLY | O_CLOEXEC);
	cr_assert_geq(h->memfd, 0);
	cr_assert_eq(maps_read(h->procfd, false, &h->maps), 0);
}

static void let_go(struct held *h)
{
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
	close(h->procfd);
	close(h->memfd);
	maps_free(&h->maps);
}

static struct unwind_request request_for(const struct held *h)
{
	return (struct unwind_request){
		.procfd = h->procfd,
		.memfd = h->memfd,
		.maps = &h->maps,
		.threads = &h->thread,
		.thread_count = 1,
		.max_frames = 64,
		.timeout_ns = 20 * NSEC_PER_SEC,
	};
}

static json_t *stack_of(const struct unwind_request *req)
{
	json_t *threads = NULL, *stack;
	int r = unwind_run(req, &threads);

	cr_assert_eq(r, 0, "unwind_run: %d", r);
	cr_assert_eq(json_array_size(threads), 1);
	stack = json_incref(json_object_get(json_array_get(threads, 0), "stack"));
	json_decref(threads);
	return stack;
}

static const char *symbol(const json_t *stack, size_t i)
{
	return json_get_text(json_array_get(stack, i), "symbol", "?");
}

Test(unwind, names_the_frames_of_a_crash)
{
	struct held h;
	struct unwind_request req;
	_cleanup_json_ json_t *stack = NULL;

	hold(crash_plain, &h);
	req = request_for(&h);
	stack = stack_of(&req);
	cr_assert_str_eq(symbol(stack, 0), "inner");
	cr_assert_str_eq(symbol(stack, 1), "outer");
	cr_assert_str_eq(symbol(stack, 2), "crash_plain");
	cr_assert_str_eq(symbol(stack, 3), "hold");
	cr_assert_not_null(json_object_get(json_array_get(stack, 0), "build_id"));
	cr_assert_not_null(json_object_get(json_array_get(stack, 0), "offset"));
	let_go(&h);
}

Test(unwind, goes_on_behind_a_call_of_nothing)
{
	static const uint64_t places[] = {0, 0x123456789000};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct held h;
		struct unwind_request req;
		_cleanup_json_ json_t *stack = NULL;

		wild = (void (*)(void))places[i]; // NOLINT(performance-no-int-to-ptr)
		hold(crash_wild, &h);
		req = request_for(&h);
		stack = stack_of(&req);
		cr_assert_str_eq(symbol(stack, 0), "?");
		cr_assert_str_eq(symbol(stack, 1), "crash_wild");
		cr_assert_str_eq(symbol(stack, 2), "hold");
		let_go(&h);
	}
}

Test(unwind, passes_through_a_signal_handler)
{
	struct held h;
	struct unwind_request req;
	_cleanup_json_ json_t *stack = NULL;
	size_t i;

	hold(crash_in_handler, &h);
	req = request_for(&h);
	stack = stack_of(&req);
	cr_assert_str_eq(symbol(stack, 2), "on_signal");
	for (i = 3; i < json_array_size(stack); i++)
		if (strcmp(symbol(stack, i), "crash_in_handler") == 0)
			break;
	cr_assert_lt(i, json_array_size(stack), "what the signal interrupted is missing");
	cr_assert_str_eq(symbol(stack, i + 1), "hold");
	let_go(&h);
}

Test(unwind, cuts_at_max_frames_and_says_so)
{
	struct held h;
	struct unwind_request req;
	_cleanup_json_ json_t *threads = NULL;

	hold(crash_deep, &h);
	req = request_for(&h);
	req.max_frames = 10;
	cr_assert_eq(unwind_run(&req, &threads), 0);
	cr_assert(json_is_true(json_object_get(json_array_get(threads, 0), "truncated")));
	cr_assert_eq(json_array_size(json_object_get(json_array_get(threads, 0), "stack")), 10);
	let_go(&h);
}

Test(unwind, a_copied_stack_is_enough)
{
	struct held h;
	struct unwind_request req;
	char copy[16384];
	ssize_t n;
	_cleanup_json_ json_t *stack = NULL;

	hold(crash_plain, &h);
	req = request_for(&h);
	req.stack_start = registers_sp(&h.thread);
	n = pread(h.memfd, copy, sizeof(copy), (off_t)req.stack_start);
	cr_assert_gt(n, 0);
	req.stack = copy;
	req.stack_size = (size_t)n;
	req.memfd = -1;
	stack = stack_of(&req);
	cr_assert_str_eq(symbol(stack, 2), "crash_plain");
	cr_assert_str_eq(symbol(stack, 3), "hold");
	let_go(&h);
}

Test(unwind, a_process_without_files_keeps_its_first_frame)
{
	struct held h;
	struct unwind_request req;
	_cleanup_json_ json_t *stack = NULL;

	hold(crash_plain, &h);
	req = request_for(&h);
	req.procfd = req.memfd = -1;
	stack = stack_of(&req);
	cr_assert_eq(json_array_size(stack), 1);
	cr_assert_str_eq(symbol(stack, 0), "?");
	let_go(&h);
}

Test(unwind, one_bad_thread_costs_only_itself)
{
	struct held h;
	struct unwind_request req;
	struct thread_registers threads[3];
	_cleanup_json_ json_t *all = NULL;

	hold(crash_plain, &h);
	req = request_for(&h);
	threads[0] = threads[1] = threads[2] = h.thread;
	memset(&threads[1].regs, 0xff, sizeof(threads[1].regs));
	req.threads = threads;
	req.thread_count = 3;
	cr_assert_eq(unwind_run(&req, &all), 0);
	cr_assert_eq(json_array_size(all), 3);
	cr_assert_str_eq(symbol(json_object_get(json_array_get(all, 0), "stack"), 0), "inner");
	cr_assert_eq(json_array_size(json_object_get(json_array_get(all, 1), "stack")), 1);
	cr_assert_str_eq(symbol(json_object_get(json_array_get(all, 2), "stack"), 1), "outer");
	let_go(&h);
}

Test(unwind, ends_in_time_and_leaves_no_process)
{
	struct held h;
	struct unwind_request req;
	struct thread_registers *threads = calloc(100000, sizeof(*threads));
	json_t *all = NULL;
	uint64_t start = clock_now_ns(CLOCK_MONOTONIC);
	int r;

	cr_assert_not_null(threads);
	hold(crash_deep, &h);
	req = request_for(&h);
	for (size_t i = 0; i < 100000; i++)
		threads[i] = h.thread;
	req.threads = threads;
	req.thread_count = 100000;
	req.timeout_ns = 100 * NSEC_PER_MSEC;
	r = unwind_run(&req, &all);
	cr_assert_lt(clock_now_ns(CLOCK_MONOTONIC) - start, 5 * NSEC_PER_SEC);
	/* Slow machines have nothing by then; others all threads, the later ones with one frame. */
	cr_assert(r == -ETIMEDOUT || (r == 0 && json_array_size(all) == 100000), "%d", r);
	json_decref(all);
	let_go(&h);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
	free(threads);
}

Test(unwind_reply, takes_what_the_child_says)
{
	static const char line[] =
		"{\"tid\":7,\"truncated\":false,\"other\":1,\"stack\":[{\"address\":\"0x1f\","
		"\"symbol\":\"f\",\"build_id\":\"ab01\",\"offset\":\"0x2\",\"evil\":{}}]}";
	_cleanup_json_ json_t *t = NULL;

	cr_assert_eq(unwind_reply_parse(line, strlen(line), 4, &t), 0);
	cr_assert_eq(json_get_int(t, "tid", 0), 7);
	cr_assert_null(json_object_get(t, "other"), "unknown keys do not pass");
	cr_assert_eq(json_object_size(json_array_get(json_object_get(t, "stack"), 0)), 4);
}

Test(unwind_reply, refuses_the_rest)
{
	static const char *const lines[] = {
		"",
		"[]",
		"{}",
		"{\"tid\":7,\"truncated\":false}",
		"{\"tid\":7,\"truncated\":false,\"stack\":[]}",
		"{\"tid\":\"7\",\"truncated\":false,\"stack\":[{\"address\":\"0x1\"}]}",
		"{\"tid\":7,\"truncated\":0,\"stack\":[{\"address\":\"0x1\"}]}",
		"{\"tid\":7,\"truncated\":false,\"stack\":[{\"address\":1}]}",
		"{\"tid\":7,\"truncated\":false,\"stack\":[{\"address\":\"1\"}]}",
		"{\"tid\":7,\"truncated\":false,\"stack\":[{\"address\":\"0x11112222333344445\"}]}",
		"{\"tid\":7,\"truncated\":false,\"stack\":[{\"address\":\"0x1\",\"build_id\":\"a\"}"
		"]}",
		"{\"tid\":7,\"truncated\":false,\"stack\":[{\"address\":\"0x1\",\"symbol\":[]}]}",
		"{\"tid\":7,\"truncated\":false,\"notes\":[1],\"stack\":[{\"address\":\"0x1\"}]}",
		"{\"tid\":7,\"truncated\":false,\"stack\":[{\"address\":\"0x1\"},"
		"{\"address\":\"0x1\"},{\"address\":\"0x1\"}]}",
	};
	json_t *t = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		cr_assert_eq(unwind_reply_parse(lines[i], strlen(lines[i]), 2, &t), -EPROTO, "%s",
			lines[i]);
	cr_assert_null(t);
}

/* Exit status: the number of the first thing that the cage let through, or the error that kept it
 * open. */
static int try_the_bars(int replyfd, int otherfd)
{
	struct sandbox cage = {.replyfd = replyfd, .memory_max = 1ULL << 30, .cpu_max = 5};

	int r = sandbox_enter(&cage);

	if (r < 0)
		return -r;
	if (write(replyfd, "x", 1) != 1)
		return 202;
	if (fcntl(otherfd, F_GETFD) >= 0)
		return 203;
	if (open("/etc/passwd", O_RDONLY) >= 0)
		return 204;
	if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0)
		return 205;
	if (fork() >= 0)
		return 206;
	if (kill(1, 0) >= 0)
		return 207;
	if (write(STDERR_FILENO, "", 0) >= 0)
		return 208;
	free(malloc(1 << 20));
	return 0;
}

Test(sandbox, leaves_nothing_but_the_reply)
{
	int fds[2], other = open("/dev/null", O_WRONLY), status;
	char c = 0;
	pid_t pid;

	cr_assert_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0)
		_exit(try_the_bars(fds[1], other));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "status %x", status);
	cr_assert_eq(WEXITSTATUS(status), 0, "bar %d", WEXITSTATUS(status));
	cr_assert_eq(read(fds[0], &c, 1), 1);
	cr_assert_eq(c, 'x');
}

/* What is below the new root, and nothing of what is above. */
static int try_the_door(int replyfd, const char *root)
{
	struct sandbox cage = {.replyfd = replyfd, .root = root};

	if (sandbox_enter(&cage) < 0)
		return 1;
	if (geteuid() == 0)
		return 2;
	if (open("/file", O_RDONLY) < 0)
		return 3;
	if (open("/etc/passwd", O_RDONLY) >= 0 || open("../../etc/passwd", O_RDONLY) >= 0)
		return 4;
	if (open("/file", O_RDWR) >= 0 || open("/new", O_WRONLY | O_CREAT, 0600) >= 0)
		return 5;
	return 0;
}

Test(sandbox, may_have_one_directory_to_read)
{
	char root[] = "/tmp/sandbox-XXXXXX", file[64];
	int fd, status;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip_test("chroot needs root");
	cr_assert_not_null(mkdtemp(root));
	snprintf(file, sizeof(file), "%s/file", root);
	fd = open(file, O_CREAT | O_WRONLY, 0666);
	cr_assert_geq(fd, 0);
	cr_assert_eq(fchmod(fd, 0666), 0);
	cr_assert_eq(chmod(root, 0777), 0);
	pid = fork();
	if (pid == 0)
		_exit(try_the_door(fd, root));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	unlink(file);
	rmdir(root);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}
