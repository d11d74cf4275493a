/* SPDX-License-Identifier: MIT */
/* A process sprang a trap: all that a rule decides by, whatever kind of trap it was. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "probe/event.h"
#include "rules/condition.h"

enum trip_kind {
	TRIP_SIGNAL,
	TRIP_FIRST_CHANCE,
	TRIP_EXIT,
	TRIP_CPU,
	TRIP_MEMORY,
	TRIP_THREADS,
	TRIP_FDS,
	TRIP_REQUEST,
	TRIP_UNREAD,
	TRIP_STALL,
	TRIP_FUNCTION,
	TRIP_KINDS,
};

struct trip {
	enum trip_kind kind;
	pid_t pid;
	uint64_t start_ticks;
	uint64_t age_ns;	   /* of the process */
	const char *signature;	   /* of a crash, borrowed; NULL: not known, or no crash */
	const struct event *event; /* SIGNAL, FIRST_CHANCE, EXIT: borrowed; else NULL, and where it
				      is only asked what would be */
};

/* "signal", "cpu" …: trigger.kind of events. */
const char *trip_kind_name(enum trip_kind kind);
/* What a threshold trips as: "cpu-below" is of kind cpu. */
enum trip_kind trip_kind_of(enum condition_kind kind);

/* A death, a handled signal or an exit. BOOT_NS is CLOCK_BOOTTIME; EVENT is borrowed. */
struct trip trip_by_event(const struct event *event, const char *signature, uint64_t boot_ns);
/* A process that lives on, as it is at BOOT_NS (CLOCK_BOOTTIME). */
struct trip trip_by_process(enum trip_kind kind, pid_t pid, uint64_t start_ticks, uint64_t boot_ns);
/* A threshold of that kind, at this sample. */
struct trip trip_by_sample(enum condition_kind kind, const struct sample *sample);
