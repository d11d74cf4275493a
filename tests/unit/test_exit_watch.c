/* SPDX-License-Identifier: MIT */
/* Cores of processes at their end, by a tracer process. */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/exit_watch.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/json.h"

#define PATIENCE_MS 20000 /* the machine may be busy */

struct scene {
	pid_t pid;
	int go; /* a line sets the target going */
	struct process process;
	char output[40];
	int outputfd;
	struct capture_options what;
	struct exit_watch *watch;
};

/* The target is a shell: it is not this program, which is never captured. */
static struct scene begin(const char *script)
{
	struct scene s = {.process = PROCESS_NONE,
		.output = "/tmp/coretrap-exit-XXXXXX",
		.what = {.kind = CORE_FULL, .compression = COMPRESS_NONE, .form = OUTPUT_FILE}};
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	s.pid = fork();
	if (s.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ends[0], STDIN_FILENO);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(99);
	}
	close(ends[0]);
	s.go = ends[1];
	for (char link[32], exe[64] = ""; !strstr(exe, "sh"); usleep(1000)) {
		snprintf(link, sizeof(link), "/proc/%d/exe", s.pid);
		memset(exe, 0, sizeof(exe));
		cr_assert_gt(readlink(link, exe, sizeof(exe) - 1), 0);
		if (strstr(exe, "tests/unit"))
			exe[0] = '\0';
	}
	cr_assert_eq(process_open(s.pid, &s.process), 0);
	s.outputfd = mkstemp(s.output);
	return s;
}

static json_t *next(struct scene *s)
{
	struct pollfd wait = {.fd = exit_watch_fd(s->watch), .events = POLLIN};
	json_t *message = NULL;
	int r;

	while ((r = exit_watch_read(s->watch, &message)) == 0)
		cr_assert_eq(poll(&wait, 1, PATIENCE_MS), 1, "nothing comes");
	cr_assert(r == 1 || r == -ENODATA);
	return message;
}

static void start(struct scene *s, enum exit_wish wish, int code, uint64_t hold_ms)
{
	const struct exit_watch_request request = {.process = &s->process,
		.wish = wish,
		.code = code,
		.rule = "ends",
		.what = &s->what,
		.output_fd = s->outputfd,
		.hold_ns = hold_ms * 1000000};

	cr_assert_eq(exit_watch_start(&request, &s->watch), 0);
}

static void check_armed(struct scene *s)
{
	_cleanup_json_ json_t *message = next(s);

	cr_assert_str_eq(json_get_text(message, "message", ""), "armed", "%s",
		json_get_text(message, "reason", "?"));
	cr_assert_eq(json_get_int(message, "threads", 0), 1);
	cr_assert_not_null(strstr(json_get_text(message, "cost", ""), "debugger"));
}

static void go(struct scene *s)
{
	cr_assert_eq(write(s->go, "\n", 1), 1);
}

static int status_of(struct scene *s)
{
	int status;

	cr_assert_eq(waitpid(s->pid, &status, 0), s->pid);
	return status;
}

static void end(struct scene *s)
{
	exit_watch_end(s->watch);
	process_close(&s->process);
	close(s->outputfd);
	unlink(s->output);
}

/* An ELF core in which the text lies that the shell has put together. */
static void check_core(const struct scene *s)
{
	_cleanup_free_ char *bytes = NULL;
	const Elf64_Ehdr *header;
	size_t size;

	cr_assert_eq(io_read_file_at(AT_FDCWD, s->output, 64 << 20, &bytes, &size), 0);
	header = (const Elf64_Ehdr *)bytes;
	cr_assert_gt(size, 100000);
	cr_assert_eq(memcmp(header->e_ident, ELFMAG, SELFMAG), 0);
	cr_assert_eq(header->e_type, ET_CORE);
	cr_assert_not_null(memmem(bytes, size, "one-and-two", 11));
}

static json_t *expect(struct scene *s, const char *event)
{
	json_t *message = next(s);

	cr_assert_str_eq(json_get_text(message, "event", "(end)"), event, "%s: %s",
		json_get_text(message, "reason", ""), json_get_text(message, "detail", ""));
	return message;
}

static void check_captured(struct scene *s, const char *key, const char *value)
{
	_cleanup_json_ json_t *trip = expect(s, "trip"), *capture = NULL;
	const json_t *trigger = json_object_get(trip, "trigger"),
		     *exit = json_object_get(trigger, "exit"), *made;
	char text[24];

	cr_assert_str_eq(json_get_text(trigger, "kind", ""), "exit");
	cr_assert_str_eq(json_get_text(trip, "rule", ""), "ends");
	snprintf(text, sizeof(text), "%lld", (long long)json_get_int(exit, key, -1));
	cr_assert_str_eq(json_get_text(exit, key, text), value);
	cr_assert(exit_watch_pending(s->watch));
	capture = expect(s, "capture");
	cr_assert_not(exit_watch_pending(s->watch));
	made = json_object_get(capture, "capture");
	cr_assert(json_is_true(json_object_get(made, "complete")));
	cr_assert_str_eq(json_get_text(made, "snapshot", ""), "exit");
	cr_assert_eq(json_get_int(made, "threads", 0), 1);
	cr_assert_gt(json_array_size(json_object_get(capture, "stack")), 0);
	cr_assert_str_eq(json_get_text(capture, "id", "a"), json_get_text(trip, "id", "b"));
	check_core(s);
	cr_assert_null(next(s));
}

#define SCRIPT "X=one; X=$X-and-two; read y; exit 3"

Test(exit_watch, core_at_an_exit)
{
	struct scene s = begin(SCRIPT);

	start(&s, EXIT_WISH_NONZERO, 0, 0);
	check_armed(&s);
	go(&s);
	check_captured(&s, "code", "3");
	cr_assert_eq(status_of(&s), 3 << 8);
	end(&s);
}

/* Of a process that stands still by SIGSTOP. */
Test(exit_watch, core_at_a_kill)
{
	struct scene s = begin("X=one; X=$X-and-two; kill -STOP $$");

	cr_assert_eq(waitpid(s.pid, NULL, WUNTRACED), s.pid);
	start(&s, EXIT_WISH_ANY, 0, 0);
	check_armed(&s);
	kill(s.pid, SIGKILL);
	check_captured(&s, "signal", "SIGKILL");
	cr_assert_eq(status_of(&s), SIGKILL);
	end(&s);
}

Test(exit_watch, unwanted_end)
{
	struct scene s = begin(SCRIPT);

	start(&s, EXIT_WISH_CODE, 4, 0);
	check_armed(&s);
	go(&s);
	cr_assert_null(next(&s));
	cr_assert_eq(status_of(&s), 3 << 8);
	end(&s);
}

Test(exit_watch, target_goes_on_without_its_tracer)
{
	struct scene s = begin(SCRIPT);

	start(&s, EXIT_WISH_ANY, 0, 0);
	check_armed(&s);
	exit_watch_end(s.watch);
	s.watch = NULL;
	/* And may be had again. */
	start(&s, EXIT_WISH_ANY, 0, 0);
	check_armed(&s);
	exit_watch_end(s.watch);
	s.watch = NULL;
	go(&s);
	cr_assert_eq(status_of(&s), 3 << 8);
	end(&s);
}

Test(exit_watch, refused_where_a_debugger_is)
{
	struct scene s = begin(SCRIPT);
	_cleanup_json_ json_t *message = NULL;

	cr_assert_eq(ptrace(PTRACE_SEIZE, s.pid, NULL, NULL), 0);
	start(&s, EXIT_WISH_ANY, 0, 0);
	message = next(&s);
	cr_assert_str_eq(json_get_text(message, "message", ""), "refused");
	cr_assert_not_null(strstr(json_get_text(message, "reason", ""), "traced"), "%s",
		json_get_text(message, "reason", ""));
	cr_assert_null(next(&s));
	kill(s.pid, SIGKILL);
	end(&s);
}

Test(exit_watch, capture_that_fails)
{
	struct scene s = begin(SCRIPT);
	_cleanup_json_ json_t *trip = NULL, *skip = NULL;

	close(s.outputfd);
	s.outputfd = open(s.output, O_RDONLY | O_CLOEXEC); /* nothing can be written there */
	start(&s, EXIT_WISH_ANY, 0, 0);
	check_armed(&s);
	go(&s);
	trip = expect(&s, "trip");
	skip = expect(&s, "skip");
	cr_assert_str_eq(json_get_text(skip, "reason", ""), "capture-failed");
	cr_assert_eq(status_of(&s), 3 << 8);
	end(&s);
}

/* A writer that hangs: the end of the process does not wait for it for ever. */
Test(exit_watch, capture_that_takes_too_long)
{
	struct scene s = begin(SCRIPT);
	_cleanup_json_ json_t *trip = NULL, *skip = NULL;
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	s.what.form = OUTPUT_STDOUT;
	close(s.outputfd);
	s.outputfd = ends[1]; /* nobody reads it */
	start(&s, EXIT_WISH_ANY, 0, 500);
	check_armed(&s);
	go(&s);
	trip = expect(&s, "trip");
	skip = expect(&s, "skip");
	cr_assert_str_eq(json_get_text(skip, "reason", ""), "timeout");
	cr_assert_eq(status_of(&s), 3 << 8);
	end(&s);
	close(ends[0]);
}
