/* SPDX-License-Identifier: MIT */
#include "cli/actions_runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/actions_environment.h"
#include "cli/command.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/isolate.h"
#include "lib/json.h"
#include "lib/signals.h"
#include "lib/text.h"
#include "sink/incident.h"

#define DEATH_NS   (5 * NSEC_PER_SEC)	/* for a process to go away behind SIGKILL */
#define RESTART_NS (120 * NSEC_PER_SEC) /* systemd's default limit of a start is 90 s */

struct runner {
	const struct actions_request *request;
	char *input; /* the incident as a line */
	char **environment;
	int stopfd; /* readable: end */
	bool stopped;
};

/* ---- events ---- */

json_t *actions_base(const json_t *incident)
{
	static const char *const keys[] = {"id", "rule", "process"};
	_cleanup_json_ json_t *base = json_object();

	for (size_t i = 0; base && i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(incident, keys[i]);

		if (value && json_object_set(base, keys[i], value) < 0)
			return NULL;
	}
	return TAKE_PTR(base);
}

json_t *actions_event(
	const json_t *base, const struct actions_request *request, size_t n, json_t **action)
{
	_cleanup_json_ json_t *event = incident_new("action", clock_now_ns(CLOCK_REALTIME));
	const struct action *a = &request->list->v[n];
	int r;

	if (!event || json_object_update(event, (json_t *)base) < 0)
		return NULL;
	*action = json_object();
	r = json_put(event, "action", *action);
	r |= json_put_text(*action, "kind", action_kind_name(a->kind));
	r |= json_put_text(*action, "text", a->text);
	r |= json_put_text(*action, "when", request->when == ACTIONS_BEFORE ? "before" : "after");
	r |= json_put_int(*action, "number", (int64_t)n + 1);
	r |= json_put_int(*action, "of", (int64_t)request->list->n);
	return r ? NULL : TAKE_PTR(event);
}

/* RESULT is "done", "gone" (there was no process any more), "failed" or "timeout". */
__attribute__((format(printf, 3, 4))) static int conclude(
	json_t *action, const char *result, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n, r = json_put_text(action, "result", result);

	if (r < 0 || !format)
		return r;
	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	return n < 0 ? -ENOMEM : json_put_text(action, "detail", text);
}

/* ---- signals to the process ---- */

static bool is_there(const struct process *p)
{
	return p && p->pidfd >= 0 && process_verify(p) == 0;
}

/* Waits for the end of the process: 1 when it has come, 0 when not within LIMIT_NS. */
static int wait_for_end(struct runner *r, uint64_t limit_ns)
{
	struct pollfd waits[] = {{.fd = r->request->process->pidfd, .events = POLLIN},
		{.fd = r->stopfd, .events = POLLIN}};
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + limit_ns, now;

	while (!r->stopped && (now = clock_now_ns(CLOCK_MONOTONIC)) < end) {
		uint64_t left = (end - now) / NSEC_PER_MSEC + 1;

		poll(waits, ARRAY_SIZE(waits), left < 60000 ? (int)left : 60000);
		if (waits[0].revents)
			return 1;
		r->stopped = waits[1].revents != 0;
	}
	return 0;
}

static int send_signal(const struct process *p, int sig)
{
	return syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

static int gone(json_t *action)
{
	return conclude(action, "gone", "the process had ended");
}

static int not_sent(json_t *action, int error)
{
	if (error == -ESRCH)
		return gone(action);
	return conclude(action, "failed", "the signal could not be sent: %s", strerror(-error));
}

static int kill_process(struct runner *r, json_t *action)
{
	int error = send_signal(r->request->process, SIGKILL);

	if (error < 0)
		return not_sent(action, error);
	if (wait_for_end(r, DEATH_NS))
		return conclude(action, "done", NULL);
	return conclude(action, "failed", "it still is there %llu s after SIGKILL",
		DEATH_NS / NSEC_PER_SEC);
}

static int run_term(struct runner *r, const struct action *a, json_t *action)
{
	int error = send_signal(r->request->process, SIGTERM);

	if (error < 0)
		return not_sent(action, error);
	if (wait_for_end(r, a->time_ns))
		return conclude(action, "done", "it ended by SIGTERM");
	if (r->stopped)
		return conclude(action, "failed", "interrupted");
	error = kill_process(r, action);
	if (error == 0 && strcmp(json_get_text(action, "result", ""), "done") == 0)
		return conclude(action, "done", "SIGTERM was not enough, SIGKILL ended it");
	return error;
}

static int run_signal(struct runner *r, const struct action *a, json_t *action)
{
	int error;

	if (!is_there(r->request->process))
		return gone(action);
	if (a->kind == ACTION_KILL)
		return kill_process(r, action);
	if (a->kind == ACTION_TERM)
		return run_term(r, a, action);
	error = send_signal(r->request->process, a->signal);
	return error < 0 ? not_sent(action, error) : conclude(action, "done", NULL);
}

/* ---- programs ---- */

static int put_command(json_t *action, const struct command_result *c)
{
	_cleanup_free_ char *output = text_utf8(c->output, c->output_size, COMMAND_OUTPUT_MAX);
	char name[24];
	int r = output ? 0 : -ENOMEM;

	if (WIFEXITED(c->status))
		r |= json_put_int(action, "exit_code", WEXITSTATUS(c->status));
	else if (WIFSIGNALED(c->status))
		r |= json_put_text(
			action, "signal", signals_name(WTERMSIG(c->status), name, sizeof(name)));
	r |= json_put_int(action, "output_bytes", (int64_t)c->output_bytes);
	if (c->output_bytes)
		r |= json_put(action, "output", json_string(output));
	if (c->killed)
		r |= json_put_int(action, "processes_killed", (int64_t)c->killed);
	return r ? -ENOMEM : 0;
}

static int conclude_command(
	json_t *action, const struct command *command, const struct command_result *c)
{
	char name[24];

	if (c->left)
		return conclude(action, "failed", "some of its processes cannot be killed");
	if (c->stopped)
		return conclude(action, "failed", "interrupted");
	if (c->timed_out)
		return conclude(action, "timeout", "it ran longer than %llu ms",
			(unsigned long long)(command->limit_ns / NSEC_PER_MSEC));
	if (WIFSIGNALED(c->status))
		return conclude(action, "failed", "it was killed by %s",
			signals_name(WTERMSIG(c->status), name, sizeof(name)));
	if (WEXITSTATUS(c->status) != 0)
		return conclude(
			action, "failed", "it ended with status %d", WEXITSTATUS(c->status));
	return conclude(action, "done", NULL);
}

static int run_command(struct runner *r, char *const *argv, uint64_t limit_ns, json_t *action)
{
	const struct command command = {.argv = argv,
		.environment = r->environment,
		.input = r->input,
		.input_size = strlen(r->input),
		.limit_ns = limit_ns,
		.stopfd = r->stopfd};
	_cleanup_command_result_ struct command_result result = {};
	int error = command_run(&command, &result);

	if (error < 0)
		return conclude(
			action, "failed", "%s could not be run: %s", argv[0], strerror(-error));
	r->stopped = r->stopped || result.stopped;
	error = put_command(action, &result);
	return error < 0 ? error : conclude_command(action, &command, &result);
}

static int run_restart(struct runner *r, const struct action *a, json_t *action)
{
	static const char *const paths[] = {"/usr/bin/systemctl", "/bin/systemctl"};
	const char *path = access(paths[0], X_OK) == 0 ? paths[0] : paths[1];
	char *argv[] = {(char *)path, (char *)"--no-ask-password", (char *)"restart", (char *)"--",
		a->unit, NULL};

	/* sd_booted(3) */
	if (access("/run/systemd/system", F_OK) < 0)
		return conclude(action, "failed", "systemd does not run here");
	return run_command(r, argv, RESTART_NS, action);
}

/* ---- the process ---- */

static int run_action(struct runner *r, const struct action *a, json_t *action)
{
	uint64_t limit_ns = r->request->exec_ns ? r->request->exec_ns : ACTIONS_EXEC_NS,
		 start = clock_now_ns(CLOCK_MONOTONIC);
	int error;

	if (r->stopped)
		return conclude(action, "failed", "interrupted");
	if (a->kind == ACTION_EXEC)
		error = run_command(r, a->argv, limit_ns, action);
	else if (a->kind == ACTION_RESTART)
		error = run_restart(r, a, action);
	else
		error = run_signal(r, a, action);
	return error < 0 ? error
			 : json_put_int(action, "duration_ms",
				   (int64_t)((clock_now_ns(CLOCK_MONOTONIC) - start) /
					     NSEC_PER_MSEC));
}

static int report(json_t *event, int replyfd)
{
	_cleanup_free_ char *line = json_dumps(event, JSON_COMPACT | JSON_PRESERVE_ORDER);
	size_t size;
	int r;

	if (!line)
		return -ENOMEM;
	size = strlen(line);
	line[size] = '\n'; /* in place of the NUL */
	r = io_write_all(replyfd, line, size + 1);
	/* Whoever started this may have ended: what was asked for is done all the same. */
	return r == -EPIPE ? 0 : r;
}

static int settle(const struct actions_request *request, int replyfd, int *stopfd)
{
	const int keep[] = {replyfd, request->process ? request->process->pidfd : -1,
		request->process ? request->process->procfd : -1};
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	return isolate(keep, ARRAY_SIZE(keep), &stop, stopfd);
}

_Noreturn void actions_runner(const struct actions_request *request, int replyfd)
{
	struct runner r = {.request = request, .stopfd = -1};
	json_t *base = actions_base(request->incident);
	int error = settle(request, replyfd, &r.stopfd);

	r.input = json_dumps(request->incident, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_DIGITS);
	r.environment = actions_environment(request->incident, request->when);
	if (error < 0 || !base || !r.input || !r.environment)
		_exit(1);
	for (size_t i = 0; i < request->list->n; i++) {
		json_t *action;
		_cleanup_json_ json_t *event = actions_event(base, request, i, &action);

		if (!event || run_action(&r, &request->list->v[i], action) < 0 ||
			report(event, replyfd) < 0)
			_exit(1);
	}
	_exit(0);
}
