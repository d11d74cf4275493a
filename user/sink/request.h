/* SPDX-License-Identifier: MIT */
/* What of a trigger says which request tripped, or which work lies unread: made, and told to a
 * person.
 *
 * "request": {"why":"slow","protocol":"http","method":"GET","path":"/x","peer":"10.0.0.1:4711",
 * "local":"10.0.0.2:80","age_ms":1043,"bytes":420,"tid":17,"waits_in":{"call":"futex",
 * "channel":"futex_wait_queue","stack":[…]}}; "handed_off":true and "reader" in place of tid where
 * the thread that read it has turned to other work; goroutine, traceparent, request_id where they
 * are known; "answered":true and status_code once it was answered; "outbound": peers that the
 * process waits for; "folded": further trips since the one before, which were not told. "unread":
 * {"what":"bytes","waiting":4096,"held_ms":1200,"local":…,"peer":…}, or of connections, with the
 * room that the backlog has. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "probe/request_holder.h"
#include "rules/request.h"

/* STACK and PEERS are freed by who made the report. */
struct request_report {
	enum request_trip why;
	struct request request;
	enum request_holder holder; /* this and WAIT: of one that is not answered */
	struct thread_wait wait;
	char *stack; /* the kernel's of that thread, a line a function; NULL: not known */
	struct outbound *peers; /* that the process waits for, the oldest first */
	size_t peer_count;
	uint64_t folded;
};

struct unread_report {
	struct unread socket;
	uint64_t held_ns;
	uint64_t folded;
};

/* Both add to TRIGGER, "kind" as well. 0 or -ENOMEM. */
int request_put(json_t *trigger, const struct request_report *report);
int unread_put(json_t *trigger, const struct unread_report *report);

/* "GET /x from 10.0.0.1:4711 waits for 1.04 s, in thread 17 (futex)"; false, and nothing, where
 * TRIGGER is of another kind. */
bool request_print(FILE *out, const json_t *trigger);
