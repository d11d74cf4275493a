/* SPDX-License-Identifier: MIT */
#include "cli/followups.h"

#include <errno.h>
#include <stdlib.h>

#include "cli/actions.h"
#include "cli/wakeups.h"
#include "lib/cleanup.h"
#include "lib/log.h"

struct followup {
	struct followup *next;
	struct actions_run *run;
};

struct followups {
	const struct feed *feed;
	int epollfd;
	struct followup *head;
};

int followups_new(const struct feed *feed, struct followups **out)
{
	struct followups *f = calloc(1, sizeof(*f));
	int r = f ? wakeups_open(&f->epollfd) : -ENOMEM;

	if (r < 0) {
		free(f);
		return r;
	}
	f->feed = feed;
	*out = f;
	return 0;
}

static void end_first(struct followup **at)
{
	struct followup *ended = *at;

	*at = ended->next;
	actions_end(ended->run);
	free(ended);
}

void followups_free(struct followups *f)
{
	if (!f)
		return;
	while (f->head)
		end_first(&f->head);
	cleanup_close(&f->epollfd);
	free(f);
}

int followups_fd(const struct followups *f)
{
	return f->epollfd;
}

static int start(struct followups *f, const struct actions_request *request)
{
	struct followup *followup = calloc(1, sizeof(*followup));
	int r = followup ? actions_start(request, &followup->run) : -ENOMEM;

	if (r < 0) {
		free(followup);
		return r;
	}
	wakeups_add(f->epollfd, actions_fd(followup->run));
	followup->next = f->head;
	f->head = followup;
	return 0;
}

void followups_start(struct followups *f, const struct actions *list, pid_t pid,
	uint64_t start_ticks, const json_t *incident)
{
	_cleanup_process_ struct process process = PROCESS_NONE;
	struct actions_request request = {
		.list = list, .incident = incident, .when = ACTIONS_AFTER};
	int r;

	if (!list->n)
		return;
	if (process_open(pid, &process) == 0 && process.start_ticks == start_ticks)
		request.process = &process;
	r = start(f, &request);
	if (r < 0)
		log_error("event=action pid=%d errno=%d", pid, -r);
}

void followups_progress(struct followups *f)
{
	for (struct followup **at = &f->head; *at;) {
		json_t *event;
		int r;

		while ((r = actions_read((*at)->run, &event)) == 1)
			feed_say(f->feed, event);
		if (r < 0)
			end_first(at);
		else
			at = &(*at)->next;
	}
}

size_t followups_pending(const struct followups *f)
{
	size_t n = 0;

	for (const struct followup *at = f->head; at; at = at->next)
		n++;
	return n;
}
