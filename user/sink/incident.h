/* SPDX-License-Identifier: MIT */
/* Events as JSON (DESIGN.md, section 5): what the feed prints, what incident.json holds, what OTLP
 * will send. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "probe/event.h"
#include "rules/breach.h"
#include "sink/function.h"
#include "sink/request.h"
#include "sink/stall.h"
#include "target/process.h"

/* {"time":…,"event":KIND,"host":{…}}; NULL without memory. */
json_t *incident_new(const char *kind, uint64_t realtime_ns);

/* The trip: incident_new() with id, rule, trigger and process, and as its stack the one instruction
 * the kernel side saw. IDENTITY is what is known of the process besides the event. New reference,
 * or NULL without memory. */
json_t *incident_trip(const struct event *e, const struct identity *identity, const char *rule);

/* The trip of thresholds: READING, in which RULE has tripped, at measure M. New reference, or NULL
 * without memory (or if it has not tripped). */
json_t *incident_trip_threshold(const struct rule *rule, const struct breach_reading *reading,
	const struct measure *m, const struct identity *identity, uint64_t realtime_ns);

/* The trips of a request, of work that lies unread, and of a function that is not left. New
 * reference, or NULL without memory. */
json_t *incident_trip_request(const struct identity *identity, const char *rule,
	const struct request_report *report, uint64_t realtime_ns);
json_t *incident_trip_unread(const struct identity *identity, const char *rule,
	const struct unread_report *report, uint64_t realtime_ns);
json_t *incident_trip_function(const struct identity *identity, const char *rule,
	const struct function_report *report, uint64_t realtime_ns);

/* The trip of an event loop that stalls; the process is told with that thread. New reference, or
 * NULL without memory. */
json_t *incident_trip_stall(const struct identity *identity, const char *rule,
	const struct stall_report *report, uint64_t realtime_ns);

/* The trip of a process that has ended; CODE as wait(2) has it. New reference, or NULL without
 * memory. */
json_t *incident_trip_exit(
	const struct identity *identity, const char *rule, int code, uint64_t realtime_ns);

/* The trip of a capture that a person asked for. New reference, or NULL without memory. */
json_t *incident_manual(const struct identity *identity, uint64_t realtime_ns);

/* A process as section 5 has it. */
json_t *incident_process(const struct identity *identity);

/* A copy of the trip BASE that is of another kind and time: for the capture, skip and exit that
 * follow it. */
json_t *incident_follow(const json_t *base, const char *kind, uint64_t realtime_ns);

/* The `exit` of a process that no rule tripped on; CODE as wait(2) has it. */
json_t *incident_exit(const struct identity *identity, int code, uint64_t realtime_ns);
