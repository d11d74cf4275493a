/* SPDX-License-Identifier: MIT */
/* How long an event loop has not gone back to its wait, as far as samples and a probe behind that
 * wait can prove. Pure: times come as arguments, CLOCK_MONOTONIC in ns. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A suspect that went round so often has nothing to be suspected of. */
#define STALL_ROUNDS 8

enum stall_place {
	STALL_WAITS,   /* in the loop's wait: all is well */
	STALL_RUNS,    /* or would, if there were a processor for it */
	STALL_BLOCKED, /* sleeps somewhere else */
	STALL_STOPPED, /* by a signal, a debugger or a freezer: nothing can be said */
};

struct stall_sample {
	enum stall_place place;
	uint64_t time_ns;
	uint64_t pc, sp, switches; /* STALL_BLOCKED: the same again, and it has not moved */
};

/* One thread; zero: nothing is known of it. */
struct stall {
	struct stall_sample last;
	bool still;		/* it had not moved since the one before */
	unsigned int outside;	/* samples in a row, as far as it matters */
	uint64_t since_ns;	/* it has been outside since then; of use while OUTSIDE is not 0 */
	uint64_t armed_ns;	/* since then a probe tells when it comes out of its wait; 0: none
				   does */
	uint64_t rounds;	/* that the probe told of */
	uint64_t not_before_ns; /* what was seen before then does not count */
	uint64_t told;		/* rules that have tripped: not again until it has gone back */
};

/* For the shortest limit: the time between two samples, and between two probes of a thread that
 * goes round. */
void stall_pace(uint64_t limit_ns, uint64_t *interval_ns, uint64_t *rest_ns);

/* ROUNDS and LAST_NS are what the probe knew after the sample was taken (of no use without one). */
void stall_see(
	struct stall *s, const struct stall_sample *sample, uint64_t rounds, uint64_t last_ns);
/* The probe is there, or is no longer. */
void stall_arm(struct stall *s, uint64_t now_ns);
void stall_disarm(struct stall *s);
/* What was seen does not count: the process is held at that time. */
void stall_restart(struct stall *s, uint64_t now_ns);

/* A suspect. If it sleeps, samples prove that it has not moved, but only until it wakes:
 * that is of no use where all of RULES, a mask, have tripped. */
bool stall_wants_probe(const struct stall *s, uint64_t rules);
/* It waits, or has gone round, or sleeps on and all of RULES have tripped. */
bool stall_is_cleared(const struct stall *s, uint64_t rules);
/* How long it has been outside for sure at the last sample. */
uint64_t stall_age(const struct stall *s);
/* Rule number RULE trips: true once a stall. */
bool stall_trips(struct stall *s, unsigned int rule, uint64_t limit_ns);
