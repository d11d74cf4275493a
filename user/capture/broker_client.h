/* SPDX-License-Identifier: MIT */
/* The handler's side of the talk with the daemons. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture/broker.h"
#include "capture/registry.h"

/* One daemon's decision; `what` and its strings are borrowed from JSON. */
struct broker_client {
	int fd; /* the conversation, -1 when it failed or is over */
	bool answered;
	struct decision decision;
	struct capture_options what;
	json_t *json;
	json_t *event;	    /* borrowed from JSON, NULL without one */
	int output_fd;	    /* what the daemon handed over, or -1 */
	const char *cgroup; /* of the owner, borrowed from the list of owners */
};

/* Asks all OWNERS at once, waiting for their answers until DEADLINE_NS (CLOCK_MONOTONIC): a daemon
 * that is stopped must not keep a dying process. V is an array of owners->n elements, each to be
 * freed with broker_client_free(). */
void broker_client_ask(const struct registry_owners *owners, const struct broker_question *question,
	uint64_t deadline_ns, struct broker_client *v);
/* Says what became of it: see BROKER_DONE. Does not block; -errno when the daemon is gone. */
int broker_client_done(struct broker_client *c, const json_t *result);
void broker_client_free(struct broker_client *c);

/* Asks whoever watches, below RUNTIME_DIRECTORY, what its rules see of process PID: an array of
 * their replies, empty where nobody watches or answers until DEADLINE_NS (CLOCK_MONOTONIC). New
 * reference; NULL without memory. */
json_t *broker_client_why(pid_t pid, uint64_t deadline_ns);
