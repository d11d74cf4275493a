/* SPDX-License-Identifier: MIT */
#include "cli/actions.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/actions_runner.h"
#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/lines.h"
#include "lib/signals.h"

#define STOP_MS 3000 /* for the runner to end what it had started */

struct actions_run {
	struct actions_request request;
	json_t *base;
	pid_t pid; /* 0: reaped */
	int status;
	struct lines lines;
	size_t told;
};

static void freep(struct actions_run **run)
{
	actions_end(*run);
}

int actions_start(const struct actions_request *request, struct actions_run **out)
{
	_cleanup_(freep) struct actions_run *run = calloc(1, sizeof(*run));
	_cleanup_close_ int replyfd = -1;
	int r;

	if (!run)
		return -ENOMEM;
	run->request = *request;
	run->lines = LINES_NONE;
	run->base = actions_base(request->incident);
	if (!run->base)
		return -ENOMEM;
	r = lines_open(&run->lines, &replyfd);
	if (r < 0)
		return r;
	run->pid = fork();
	if (run->pid == 0)
		actions_runner(request, replyfd);
	if (run->pid < 0) {
		r = -errno;
		run->pid = 0;
		return r;
	}
	run->request.process = NULL;
	run->request.incident = NULL;
	*out = TAKE_PTR(run);
	return 0;
}

int actions_fd(const struct actions_run *run)
{
	return run->lines.fd;
}

static void reap(struct actions_run *run)
{
	while (run->pid && waitpid(run->pid, &run->status, 0) < 0 && errno == EINTR)
		;
	run->pid = 0;
}

/* For an action of which nothing will be heard any more. */
static json_t *lost_event(struct actions_run *run)
{
	json_t *action;
	_cleanup_json_ json_t *event = actions_event(run->base, &run->request, run->told, &action);
	char name[24], text[64];
	int r;

	if (!event)
		return NULL;
	if (WIFSIGNALED(run->status))
		snprintf(text, sizeof(text), "what ran it was killed by %s",
			signals_name(WTERMSIG(run->status), name, sizeof(name)));
	else
		snprintf(text, sizeof(text), "what ran it ended with status %d",
			WEXITSTATUS(run->status));
	r = json_put_text(action, "result", "failed");
	r |= json_put_text(action, "detail", text);
	return r ? NULL : TAKE_PTR(event);
}

int actions_read(struct actions_run *run, json_t **event)
{
	char *line;
	int r = run->pid ? lines_next(&run->lines, &line) : -ENODATA;

	if (r == 0)
		return 0;
	if (r == 1) {
		*event = json_loads(line, 0, NULL);
	} else {
		if (r != -ENODATA && run->pid)
			kill(run->pid, SIGKILL);
		reap(run);
		if (run->told >= run->request.list->n)
			return -ENODATA;
		*event = lost_event(run);
	}
	run->told++;
	return *event ? 1 : -ENOMEM;
}

void actions_end(struct actions_run *run)
{
	struct pollfd end = {.events = POLLIN};

	if (!run)
		return;
	if (run->pid) {
		/* It ends what it has started; the last writer of the pipe has gone then. */
		kill(run->pid, SIGTERM);
		end.fd = run->lines.fd;
		while (poll(&end, 1, STOP_MS) == 1 && !(end.revents & POLLHUP)) {
			char *line;

			if (lines_next(&run->lines, &line) < 0)
				break;
		}
		child_end(run->pid, "action");
	}
	lines_close(&run->lines);
	json_decref(run->base);
	free(run);
}
