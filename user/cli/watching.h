/* SPDX-License-Identifier: MIT */
/* All that is armed at one time: what arming makes, the loop runs, and events change. */
#pragma once

#include "capture/broker.h"
#include "capture/registry.h"
#include "cli/deaths.h"
#include "cli/destination.h"
#include "cli/exits.h"
#include "cli/followups.h"
#include "cli/in_flight.h"
#include "cli/inside.h"
#include "cli/janitor.h"
#include "cli/launch.h"
#include "cli/lives.h"
#include "cli/monitor.h"
#include "cli/stalls.h"
#include "cli/targets.h"
#include "cli/thresholds.h"
#include "probe/probe.h"

struct watching {
	const struct monitor_options *options;
	struct rule_set rules;
	struct ledger *ledger;
	struct who command_who; /* what is watched when a command was started */
	struct rule command_rule;
	struct destination output;
	struct probe *probe;
	struct broker *broker;
	struct registry *registry;
	struct targets targets;
	struct deaths *deaths;
	struct lives *lives;
	struct exits *exits;
	struct followups *followups;
	struct thresholds *thresholds; /* NULL: no rule has one */
	struct in_flight *in_flight;   /* NULL: no rule looks at sockets */
	struct inside *inside;	       /* NULL: no rule watches functions */
	struct stalls *stalls;	       /* NULL: no rule looks at event loops */
	struct launch launch;
	struct janitor janitor;
	uint64_t captured; /* so many, when the janitor was called */
	struct feed feed;
	bool closing; /* told to end: else there always is one more trip to wait for */
	int epollfd, signalfd;
};

#define WATCHING_NONE       \
	((struct watching){ \
		.epollfd = -1, .signalfd = -1, .output = DESTINATION_NONE, .launch = LAUNCH_NONE})

/* Loads, attaches, registers. 0, or -errno after it was said what is wrong; -EBADMSG: what was
 * asked for makes no sense for the process that it was asked for. */
int watching_arm(struct watching *w, const struct monitor_options *options);
/* The host is as it was, also where arming failed half-way. */
void watching_disarm(struct watching *w);
/* Some rule captures. */
bool watching_captures(const struct watching *w);
/* Some rule wants a core of what dies, from the kernel's handler. */
bool watching_takes_cores(const struct watching *w);

/* Takes what the kernel side tells, a bounded number of events. Returns whether there may be more.
 */
bool watching_read_events(struct watching *w);
/* Takes what crash handlers ask and report. */
void watching_read_handlers(struct watching *w);
/* Samples the targets if it is time to, and takes those that trip. */
void watching_sample(struct watching *w);
/* The same of requests, of which answers come at any time. */
void watching_serve(struct watching *w);
/* The same of functions. */
void watching_functions(struct watching *w);
/* Something of a function is not as a rule wants it: a `loss`. */
void watching_say_note(const struct watching *w, const struct inside_note *note);
/* The same of event loops. */
void watching_loops(struct watching *w);
/* What became of all trips. */
struct trip_counts watching_counts(const struct watching *w);
/* Once a second: what was lost, what ended unseen, who owns the core pattern. */
void watching_check(struct watching *w);
