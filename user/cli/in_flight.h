/* SPDX-License-Identifier: MIT */
/* Requests in flight at the processes that the rules watch, and work that lies unread in their
 * sockets: looked at once an interval, judged, and handed out as trips. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/targets.h"
#include "probe/requests.h"
#include "sink/request.h"

struct in_flight;

/* Some rule of the targets' is in rule_set_serving(). TARGETS is borrowed. 0 or -errno, as
 * requests_open(). */
int in_flight_open(const struct targets *targets, struct in_flight **out);
void in_flight_close(struct in_flight *f); /* NULL-safe */
/* Readable when in_flight_pass() has something to do. */
int in_flight_fd(const struct in_flight *f);

/* A new target, or a new image of one; nothing to do where none of its rules looks at sockets. What
 * is a target no longer forgets itself. 0 or -ENOMEM. */
int in_flight_watch(struct in_flight *f, const struct target *target);
/* It is being captured for that rule: what is seen until the end of the next pass does not count.
 */
void in_flight_restart(struct in_flight *f, pid_t pid, uint64_t start_ticks, size_t rule);

/* Takes the answers that came, and looks at what waits if an interval has passed. Drops the trips
 * of the pass before. */
void in_flight_pass(struct in_flight *f);

struct in_flight_trip {
	size_t rule;
	pid_t pid;
	uint64_t start_ticks;
	enum trip_kind kind; /* TRIP_REQUEST, TRIP_UNREAD */
	pid_t tid;	     /* the thread that has the request; 0: not known, or nobody */
	union {
		struct request_report request;
		struct unread_report unread;
	};
};

/* The next trip of the last pass; what it points to lasts until the next pass. */
bool in_flight_next(struct in_flight *f, struct in_flight_trip *out);

/* A rule goes by paths, and this process' requests show none. */
struct in_flight_blind {
	size_t rule;
	pid_t pid;
	uint64_t start_ticks;
	enum request_protocol protocol;
};

/* The next of those of the last pass; once each rule and process. */
bool in_flight_next_blind(struct in_flight *f, struct in_flight_blind *out);

/* Slow requests that a rule counts of a process now, as request_state_points(). */
uint64_t in_flight_points(const struct in_flight *f, pid_t pid, uint64_t start_ticks, size_t rule);
/* As requests_losses(). */
int in_flight_losses(struct in_flight *f, struct probe_loss out[PROBE_LOSSES_MAX]);
