/* SPDX-License-Identifier: MIT */
/* Actions, run on real processes and with real programs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/actions.h"
#include "cli/command.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

#define PATIENCE_MS 20000 /* the machine may be busy */

struct case_run {
	struct actions list;
	struct actions_request request;
	json_t *incident, *events;
};

static void add(struct case_run *c, const char *text)
{
	char why[ACTION_WHY_MAX] = "";

	cr_assert_eq(actions_add(&c->list, text, why), 0, "%s", why);
}

static struct case_run begin(const char *first)
{
	struct case_run c = {.request.when = ACTIONS_AFTER};

	c.incident = json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:i, s:s}, s:{s:s, s:s}}", "id", "0123",
		"event", "capture", "rule", "slow", "trigger", "kind", "cpu", "process", "pid", 42,
		"comm", "a\n\033[31mb", "capture", "id", "x", "path", "/store/x");
	cr_assert_not_null(c.incident);
	add(&c, first);
	return c;
}

static struct actions_run *start(struct case_run *c)
{
	struct actions_run *run = NULL;

	c->request.list = &c->list;
	c->request.incident = c->incident;
	cr_assert_eq(actions_start(&c->request, &run), 0);
	return run;
}

/* All events that come to the end of the list. */
static void collect(struct case_run *c, struct actions_run *run)
{
	struct pollfd wait = {.fd = actions_fd(run), .events = POLLIN};
	json_t *event;
	int r;

	c->events = json_array();
	while ((r = actions_read(run, &event)) != -ENODATA) {
		cr_assert_geq(r, 0);
		if (r == 1)
			json_array_append_new(c->events, event);
		else
			cr_assert_eq(poll(&wait, 1, PATIENCE_MS), 1, "nothing comes");
	}
	actions_end(run);
	cr_assert_eq(json_array_size(c->events), c->list.n);
}

static void end(struct case_run *c)
{
	json_decref(c->incident);
	json_decref(c->events);
	actions_free(&c->list);
}

static const json_t *action(const struct case_run *c, size_t i)
{
	return json_object_get(json_array_get(c->events, i), "action");
}

static void check(const struct case_run *c, size_t i, const char *result, const char *detail)
{
	_cleanup_free_ char *text = json_dumps(action(c, i), 0);

	cr_assert_str_eq(json_get_text(action(c, i), "result", "?"), result, "%s", text);
	if (detail)
		cr_assert_not_null(
			strstr(json_get_text(action(c, i), "detail", ""), detail), "%s", text);
}

static struct case_run run_one(const char *text, uint64_t limit_ms)
{
	struct case_run c = begin(text);

	c.request.exec_ns = limit_ms * NSEC_PER_MSEC;
	collect(&c, start(&c));
	return c;
}

static const char *output(const struct case_run *c)
{
	return json_get_text(action(c, 0), "output", "");
}

/* ---- programs ---- */

Test(actions, program_gets_the_incident)
{
	struct case_run c = run_one("exec:/bin/sh -c 'cat; echo; echo err >&2; pwd; umask; "
				    "ls /proc/self/fd | wc -l; env | grep ^CORETRAP_ | sort'",
		0);

	check(&c, 0, "done", NULL);
	cr_assert_eq(json_get_int(action(&c, 0), "exit_code", -1), 0);
	cr_assert_eq(strncmp(output(&c), "{\"id\":\"0123\"", 12), 0, "%s", output(&c));
	/* ls has one more for the directory. */
	cr_assert_not_null(strstr(output(&c), "\nerr\n/\n0077\n4\n"), "%s", output(&c));
	cr_assert_not_null(strstr(output(&c), "CORETRAP_COMM=a\\x0a\\x1b[31mb\n"));
	cr_assert_not_null(strstr(output(&c), "CORETRAP_PATH=/store/x\nCORETRAP_PID=42\n"
					      "CORETRAP_RULE=slow\nCORETRAP_TRIGGER=cpu\n"
					      "CORETRAP_WHEN=after\n"),
		"%s", output(&c));
	cr_assert_str_eq(json_get_text(json_array_get(c.events, 0), "id", ""), "0123");
	cr_assert_str_eq(json_get_text(json_array_get(c.events, 0), "event", ""), "action");
	end(&c);
}

Test(actions, program_does_not_get_what_is_ours)
{
	struct case_run c;
	const char *ignored;

	setenv("NOTIFY_SOCKET", "/run/x", 1);
	setenv("CORETRAP_PID", "1", 1);
	setenv("OPS_URL", "there", 1);
	signal(SIGPIPE, SIG_IGN);
	c = run_one("exec:/bin/sh -c 'env; grep SigIgn /proc/self/status'", 0);
	cr_assert_not_null(strstr(output(&c), "OPS_URL=there\n"));
	cr_assert_not_null(strstr(output(&c), "CORETRAP_PID=42\n"));
	cr_assert_null(strstr(output(&c), "CORETRAP_PID=1\n"));
	cr_assert_null(strstr(output(&c), "NOTIFY_SOCKET"));
	ignored = strstr(output(&c), "SigIgn:\t");
	/* Not the two that the C library keeps for itself, which nobody can set back. */
	cr_assert(ignored && !(strtoull(ignored + 8, NULL, 16) & ~(3ULL << 31)), "%s", output(&c));
	end(&c);
}

Test(actions, program_that_hangs)
{
	struct case_run c = run_one("exec:/bin/sleep 300", 200);

	check(&c, 0, "timeout", "longer than 200 ms");
	cr_assert_str_eq(json_get_text(action(&c, 0), "signal", ""), "SIGTERM");
	cr_assert_lt(json_get_int(action(&c, 0), "duration_ms", 1000000), 10000);
	end(&c);
}

Test(actions, program_that_hangs_and_does_not_hear_sigterm)
{
	struct case_run c = run_one("exec:/bin/sh -c 'trap \"\" TERM; sleep 300; sleep 300'", 100);

	check(&c, 0, "timeout", NULL);
	cr_assert_str_eq(json_get_text(action(&c, 0), "signal", ""), "SIGKILL");
	end(&c);
}

Test(actions, program_that_floods)
{
	struct case_run c = run_one("exec:/usr/bin/head -c 20000000 /dev/zero", 0);

	check(&c, 0, "done", NULL);
	cr_assert_eq(json_get_int(action(&c, 0), "output_bytes", 0), 20000000);
	cr_assert_leq(strlen(output(&c)), 4 * COMMAND_OUTPUT_MAX);
	cr_assert_geq(strlen(output(&c)), COMMAND_OUTPUT_MAX);
	end(&c);
	c = run_one("exec:/usr/bin/yes", 300);
	check(&c, 0, "timeout", NULL);
	cr_assert_gt(json_get_int(action(&c, 0), "output_bytes", 0), COMMAND_OUTPUT_MAX);
	end(&c);
}

Test(actions, program_that_fails)
{
	struct case_run c = run_one("exec:/bin/sh -c 'kill -SEGV $$'", 0);

	check(&c, 0, "failed", "SIGSEGV");
	end(&c);
	c = run_one("exec:/bin/sh -c 'exit 3'", 0);
	check(&c, 0, "failed", "status 3");
	cr_assert_eq(json_get_int(action(&c, 0), "exit_code", -1), 3);
	end(&c);
	c = run_one("exec:/nonexistent/program", 0);
	check(&c, 0, "failed", "/nonexistent/program could not be run: No such file");
	end(&c);
	c = run_one("exec:/etc/passwd", 0);
	check(&c, 0, "failed", "Permission denied");
	end(&c);
}

static bool is_alive(pid_t pid)
{
	return kill(pid, 0) == 0;
}

/* It says the numbers of what it leaves. */
static void check_nothing_left(const struct case_run *c)
{
	char *at = (char *)output(c);
	int n = 0;

	for (long pid; (pid = strtol(at, &at, 10)) > 0; n++)
		cr_assert_not(is_alive((pid_t)pid), "process %ld is left", pid);
	cr_assert_gt(n, 0);
	cr_assert_eq(json_get_int(action(c, 0), "processes_killed", 0), n, "%s", output(c));
}

Test(actions, program_that_leaves_processes)
{
	struct case_run c =
		run_one("exec:/bin/sh -c 'sleep 301 & echo $!; echo ignored >/dev/null'", 0);

	check(&c, 0, "done", NULL);
	cr_assert_lt(json_get_int(action(&c, 0), "duration_ms", 1000000), PATIENCE_MS);
	check_nothing_left(&c);
	end(&c);
	/* A daemon: another session, its parent gone, and a child of its own. */
	c = run_one(
		"exec:/bin/sh -c '(setsid sh -c \"echo \\$\\$; sleep 302 & echo \\$!; wait\" &) ; "
		"sleep 0.3'",
		0);
	check(&c, 0, "done", NULL);
	check_nothing_left(&c);
	end(&c);
}

Test(actions, incident_that_nobody_reads)
{
	_cleanup_free_ char *big = malloc(1 << 20), *text = NULL;
	struct case_run c = begin("exec:/bin/true");

	memset(big, 'x', 1 << 20);
	add(&c, "exec:/usr/bin/wc -c");
	json_object_set_new(c.incident, "stack", json_stringn(big, 1 << 20));
	collect(&c, start(&c));
	check(&c, 0, "done", NULL);
	check(&c, 1, "done", NULL);
	text = json_dumps(c.incident, JSON_COMPACT);
	cr_assert_eq(strtoul(json_get_text(action(&c, 1), "output", ""), NULL, 10), strlen(text));
	end(&c);
}

/* ---- processes ---- */

static pid_t child(bool deaf)
{
	int ends[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (deaf)
			signal(SIGTERM, SIG_IGN);
		close(ends[1]);
		close(ends[0]);
		for (;;)
			pause();
	}
	close(ends[1]);
	cr_assert_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	return pid;
}

static struct case_run act_on(pid_t pid, const char *text, struct process *p)
{
	struct case_run c = begin(text);

	if (p->pid < 0)
		cr_assert_eq(process_open(pid, p), 0);
	c.request.process = p;
	collect(&c, start(&c));
	return c;
}

static int status_of(pid_t pid)
{
	int status = 0;

	cr_assert_eq(waitpid(pid, &status, WNOHANG), pid, "it still lives");
	return status;
}

Test(actions, signals)
{
	_cleanup_process_ struct process a = PROCESS_NONE, b = PROCESS_NONE, d = PROCESS_NONE,
					 e = PROCESS_NONE;
	pid_t pid = child(false);
	struct case_run c = act_on(pid, "kill", &a);

	check(&c, 0, "done", NULL);
	cr_assert_eq(status_of(pid), SIGKILL);
	end(&c);
	pid = child(false);
	c = act_on(pid, "term:20s", &b);
	check(&c, 0, "done", "ended by SIGTERM");
	cr_assert_eq(status_of(pid), SIGTERM);
	end(&c);
	pid = child(true);
	c = act_on(pid, "term:200ms", &d);
	check(&c, 0, "done", "SIGKILL ended it");
	cr_assert_geq(json_get_int(action(&c, 0), "duration_ms", 0), 200);
	cr_assert_eq(status_of(pid), SIGKILL);
	end(&c);
	pid = child(false);
	c = act_on(pid, "signal:STOP", &e);
	check(&c, 0, "done", NULL);
	cr_assert_eq(waitpid(pid, NULL, WUNTRACED), pid);
	end(&c);
	kill(pid, SIGKILL);
}

Test(actions, process_that_is_gone_or_another)
{
	_cleanup_process_ struct process p = PROCESS_NONE, q = PROCESS_NONE;
	struct process other;
	pid_t pid = child(false);
	struct case_run c;

	cr_assert_eq(process_open(pid, &p), 0);
	/* As after the reuse of its number. */
	other = p;
	other.start_ticks--;
	c = act_on(pid, "kill", &other);
	check(&c, 0, "gone", NULL);
	cr_assert_eq(waitpid(pid, NULL, WNOHANG), 0, "a stranger was killed");
	end(&c);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	c = act_on(pid, "term:10s", &p);
	check(&c, 0, "gone", "had ended");
	end(&c);
	/* Dead, and not yet reaped. */
	pid = child(false);
	cr_assert_eq(process_open(pid, &q), 0);
	kill(pid, SIGKILL);
	cr_assert_eq(waitid(P_PID, (id_t)pid, &(siginfo_t){}, WEXITED | WNOWAIT), 0);
	c = act_on(pid, "signal:USR1", &q);
	check(&c, 0, "gone", NULL);
	end(&c);
	c = run_one("kill", 0);
	check(&c, 0, "gone", NULL);
	end(&c);
}

/* ---- lists ---- */

Test(actions, run_in_their_order_whatever_fails)
{
	struct case_run c = begin("exec:/bin/sh -c 'sleep 0.2; date +%s%N'");

	add(&c, "exec:/bin/false");
	add(&c, "exec:/bin/date +%s%N");
	c.request.when = ACTIONS_BEFORE;
	collect(&c, start(&c));
	check(&c, 0, "done", NULL);
	check(&c, 1, "failed", NULL);
	check(&c, 2, "done", NULL);
	cr_assert_lt(strtoull(output(&c), NULL, 10),
		strtoull(json_get_text(action(&c, 2), "output", "0"), NULL, 10));
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(json_get_int(action(&c, i), "number", 0), (int64_t)i + 1);
		cr_assert_eq(json_get_int(action(&c, i), "of", 0), 3);
		cr_assert_str_eq(json_get_text(action(&c, i), "when", ""), "before");
	}
	end(&c);
}

/* The Nth line that a program of ours has written into the file. */
static pid_t number_in(const char *path)
{
	for (int i = 0; i < PATIENCE_MS / 10; i++, usleep(10000)) {
		_cleanup_fclose_ FILE *f = fopen(path, "r");
		int pid;

		if (f && fscanf(f, "%d\n", &pid) == 1 && pid > 0)
			return pid;
	}
	cr_assert_fail("nothing was started");
	return 0;
}

static void check_dies(pid_t pid)
{
	for (int i = 0; i < PATIENCE_MS / 10 && is_alive(pid); i++)
		usleep(10000);
	cr_assert_not(is_alive(pid), "%d is left", pid);
}

/* A list that hangs with a daemon beside it; *PID is the daemon's. */
static struct actions_run *start_hanging(struct case_run *c, pid_t *pid)
{
	char file[] = "/tmp/coretrap-actions-XXXXXX", text[200];
	struct actions_run *run;

	close(mkstemp(file));
	snprintf(text, sizeof(text),
		"exec:/bin/sh -c 'setsid sh -c \"echo \\$\\$ >%s; exec sleep 303\" & sleep 304'",
		file);
	*c = begin(text);
	add(c, "exec:/bin/true");
	run = start(c);
	*pid = number_in(file);
	unlink(file);
	return run;
}

Test(actions, end_kills_what_was_started)
{
	struct case_run c;
	pid_t pid;
	struct actions_run *run = start_hanging(&c, &pid);

	actions_end(run);
	check_dies(pid);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "the runner is left");
	end(&c);
}

Test(actions, runner_that_is_killed_is_told_of)
{
	struct case_run c = begin("exec:/bin/sleep 305");
	struct actions_run *run;
	char path[64], text[64] = "";
	int fd;

	add(&c, "kill");
	run = start(&c);
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	fd = open(path, O_RDONLY);
	cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	kill((pid_t)strtol(text, NULL, 10), SIGKILL);
	collect(&c, run);
	check(&c, 0, "failed", "killed by SIGKILL");
	check(&c, 1, "failed", "killed by SIGKILL");
	end(&c);
}

Test(actions, descriptors_of_the_parent_are_not_held)
{
	struct case_run c;
	int ends[2];
	struct pollfd eof;
	pid_t pid;
	struct actions_run *run;

	cr_assert_eq(pipe(ends), 0);
	run = start_hanging(&c, &pid);
	close(ends[1]);
	eof = (struct pollfd){.fd = ends[0], .events = POLLIN};
	cr_assert_eq(poll(&eof, 1, PATIENCE_MS), 1);
	cr_assert(eof.revents & POLLHUP);
	actions_end(run);
	check_dies(pid);
	end(&c);
}
