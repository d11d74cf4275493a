/* SPDX-License-Identifier: MIT */
#include "rules/trip.h"

#include "lib/clock.h"

static const char *const names[TRIP_KINDS] = {
	[TRIP_SIGNAL] = "signal",
	[TRIP_FIRST_CHANCE] = "first-chance",
	[TRIP_EXIT] = "exit",
	[TRIP_CPU] = "cpu",
	[TRIP_MEMORY] = "memory",
	[TRIP_THREADS] = "threads",
	[TRIP_FDS] = "fds",
	[TRIP_REQUEST] = "request",
	[TRIP_UNREAD] = "unread",
	[TRIP_STALL] = "stall",
	[TRIP_FUNCTION] = "function",
};

const char *trip_kind_name(enum trip_kind kind)
{
	return names[kind];
}

enum trip_kind trip_kind_of(enum condition_kind kind)
{
	switch (kind) {
	case CONDITION_CPU:
	case CONDITION_CPU_BELOW:
		return TRIP_CPU;
	case CONDITION_THREADS:
		return TRIP_THREADS;
	case CONDITION_FDS:
		return TRIP_FDS;
	default:
		return TRIP_MEMORY;
	}
}

static uint64_t age(uint64_t start_ns, uint64_t now_ns)
{
	return now_ns > start_ns ? now_ns - start_ns : 0;
}

struct trip trip_by_event(const struct event *event, const char *signature, uint64_t boot_ns)
{
	const struct event_process *p = &event->process;

	return (struct trip){
		.kind = event->kind == EVENT_FIRST_CHANCE ? TRIP_FIRST_CHANCE
			: event->kind == EVENT_EXIT	  ? TRIP_EXIT
							  : TRIP_SIGNAL,
		.pid = p->pid,
		.start_ticks = p->start_ticks,
		.age_ns = age(p->start_ns, boot_ns),
		.signature = signature,
		.event = event,
	};
}

struct trip trip_by_process(enum trip_kind kind, pid_t pid, uint64_t start_ticks, uint64_t boot_ns)
{
	return (struct trip){
		.kind = kind,
		.pid = pid,
		.start_ticks = start_ticks,
		.age_ns = age(start_ticks * NSEC_PER_TICK, boot_ns),
	};
}

struct trip trip_by_sample(enum condition_kind kind, const struct sample *sample)
{
	return trip_by_process(
		trip_kind_of(kind), sample->pid, sample->start_ticks, sample->time_ns);
}
