/* SPDX-License-Identifier: MIT */
/* Inside of a ledger, for the two files that make it up: what it knows, and its text. */
#pragma once

#include "rules/ledger.h"

#define LEDGER_NAME_MAX 255u
#define SIGNATURE_MAX	64u

struct ledger_rule {
	char name[LEDGER_NAME_MAX + 1];
	uint64_t started;
	int64_t since_ns;  /* LEDGER_NEVER: was not armed */
	int64_t active_ns; /* when it last was armed or started anything */
	int64_t *starts;   /* the last ones, the newest at the end; owned */
	size_t start_count;
};

struct ledger_capture {
	uint64_t id;	 /* 0: of an earlier run */
	int64_t time_ns; /* when it began; FAILED: when it had come to nothing */
	pid_t pid;	 /* 0: not known any more */
	uint64_t start_ticks;
	uint64_t repeats;
	pid_t repeat_pid; /* the last of them, not saved */
	uint64_t repeat_ticks;
	bool failed;
	char rule[LEDGER_NAME_MAX + 1];
	char signature[SIGNATURE_MAX + 1]; /* "": none */
};

struct ledger {
	struct ledger_limits limits;
	struct ledger_rule *rules;
	size_t rule_count;
	struct ledger_capture *captures; /* the oldest first */
	size_t capture_count, capture_size;
	uint64_t last_id;
};

/* The record of a rule, a new one if there is none; NULL without memory. A name that is too long
 * shares a record with those that begin alike. */
struct ledger_rule *ledger_book_rule(struct ledger *l, const char *name, int64_t now_ns);
/* Room for one capture more, filled with zeros; NULL without memory. */
struct ledger_capture *ledger_book_capture(struct ledger *l);
/* Adds a start to those remembered, at most KEEP. 0 or -ENOMEM. */
int ledger_book_start(struct ledger_rule *rule, uint64_t keep, int64_t time_ns);
