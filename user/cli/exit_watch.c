/* SPDX-License-Identifier: MIT */
#include "cli/exit_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/exit_watch_process.h"
#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/lines.h"

struct exit_watch {
	pid_t pid;
	struct lines lines;
	bool pending;
};

int exit_watch_start(const struct exit_watch_request *request, struct exit_watch **out)
{
	_cleanup_close_ int replyfd = -1;
	struct exit_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = lines_open(&w->lines, &replyfd);
	if (r < 0) {
		free(w);
		return r;
	}
	w->pid = fork();
	if (w->pid == 0)
		exit_watch_process(request, replyfd);
	if (w->pid < 0) {
		r = -errno;
		lines_close(&w->lines);
		free(w);
		return r;
	}
	*out = w;
	return 0;
}

int exit_watch_fd(const struct exit_watch *w)
{
	return w->lines.fd;
}

int exit_watch_read(struct exit_watch *w, json_t **message)
{
	char *line;
	int r = lines_next(&w->lines, &line);

	if (r != 1)
		return r;
	*message = json_loads(line, 0, NULL);
	if (!*message)
		return -ENOMEM;
	w->pending = strcmp(json_get_text(*message, "event", ""), "trip") == 0;
	return 1;
}

bool exit_watch_pending(const struct exit_watch *w)
{
	return w->pending;
}

void exit_watch_end(struct exit_watch *w)
{
	if (!w)
		return;
	/* The kernel lets its tracees go, and kills its writer. */
	child_end(w->pid, "tracer");
	lines_close(&w->lines);
	free(w);
}
