/* SPDX-License-Identifier: MIT */
/* --exit with a core: one small tracer process a target, which holds it at its end
 * (capture/exit_tracer.h) until a process of the tracer's has written its core. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "rules/rule.h"
#include "target/process.h"

#define EXIT_WATCH_HOLD_NS (60ULL * 1000000000) /* as for a crash */

struct exit_watch_request {
	const struct process *process;
	enum exit_wish wish;
	int code;	  /* EXIT_WISH_CODE */
	uint64_t ignored; /* mask: deaths by these signals are captured elsewhere */
	const char *rule; /* its name, for events; may be NULL */
	const struct capture_options *what; /* CORE_NONE needs no tracer: use the exit record */
	int output_fd;	  /* as in capture_job; borrowed for the time of the call */
	uint64_t hold_ns; /* the end of the process waits no longer; 0: EXIT_WATCH_HOLD_NS */
};

struct exit_watch; /* a tracer */

/* Starts one. 0, or -errno and nothing was started. REQUEST need not outlive the call, but for the
 * strings of WHAT. */
int exit_watch_start(const struct exit_watch_request *request, struct exit_watch **out);
/* Readable when exit_watch_read() has something to do. */
int exit_watch_fd(const struct exit_watch *w);
/* 1: *MESSAGE (the caller's) is the next one; 0: none yet; -ENODATA: no more will come (the target
 * has ended, or goes on untraced), exit_watch_end() it. In this order:
 *   {"message":"armed","threads":N,"cost":…} or {"message":"refused","reason":…}
 *     or {"message":"gone"}, where it came too late
 *   the event "trip", once the process is held at a wanted end
 *   the event "capture", or "skip" with its reason. */
int exit_watch_read(struct exit_watch *w, json_t **message);
/* A trip was read, and what follows it was not: the capture is under way. */
bool exit_watch_pending(const struct exit_watch *w);
/* NULL-safe. The target goes on, untraced; a capture under way is broken off. To be called as well
 * before the same process is captured alive, since a process has one tracer at a time. */
void exit_watch_end(struct exit_watch *w);
