/* SPDX-License-Identifier: MIT */
/* What was captured when, by which rule, of which process and crash: one for all rules of a host,
 * and what their limits are held against. Pure.
 *
 * Times are CLOCK_BOOTTIME, which nobody sets, in signed nanoseconds: what another boot left lies
 * before 0. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/clock.h"

/* Captures in 24 hours, 0: no limit; and the time between two of one process. */
struct ledger_limits {
	uint64_t rule_per_day, signature_per_day, host_per_day;
	uint64_t process_spacing_ns;
};

#define LEDGER_DAY_NS (86400 * NSEC_PER_SEC)

/* More captures than this are not remembered one by one: the oldest are forgotten first. */
#define LEDGER_CAPTURES_MAX 4096u
/* Of more rules the one that has been quiet for longest is forgotten. */
#define LEDGER_RULES_MAX 256u
/* Starts of one rule that are remembered, and so the most that a rate can be of. */
#define LEDGER_STARTS_MAX 1024u

struct ledger;

/* LIMITS (NULL: none) is copied. 0 or -ENOMEM. */
int ledger_new(const struct ledger_limits *limits, struct ledger **out);
void ledger_free(struct ledger *l); /* NULL-safe */
void ledger_set_limits(struct ledger *l, const struct ledger_limits *limits);
const struct ledger_limits *ledger_limits(const struct ledger *l);

/* The rule is armed: since NOW, or since when it first was. 0 or -ENOMEM. */
int ledger_arm(struct ledger *l, const char *name, int64_t now_ns);
/* The rule is another one: nothing that it did before counts. Captures stay, for the limits of the
 * host. */
void ledger_forget(struct ledger *l, const char *name);

/* A start, and what it is of. Strings are copied. */
struct ledger_what {
	const char *rule;
	pid_t pid;
	uint64_t start_ticks;
	const char *signature; /* NULL or "": none */
};

/* Something starts now. CAPTURE: a capture, not only a report; KEEP: how many starts of this rule
 * must be remembered, at least one. *ID (never 0) is for ledger_fail(). 0 or -ENOMEM. */
int ledger_begin(struct ledger *l, const struct ledger_what *what, bool capture, uint64_t keep,
	int64_t now_ns, uint64_t *id);
/* It has come to nothing, NOW: it counts for nothing but the time between two captures of a
 * process, or one that cannot be captured would be stopped again and again. */
void ledger_fail(struct ledger *l, const char *name, uint64_t id, int64_t now_ns);
/* A crash that was captured before happened again, to this process; counted once, whatever rules
 * ask. */
void ledger_repeat(struct ledger *l, const struct ledger_what *what);

#define LEDGER_NEVER INT64_MIN

enum ledger_of {
	LEDGER_OF_RULE,
	LEDGER_OF_SIGNATURE,
	LEDGER_OF_PROCESS,
	LEDGER_OF_HOST
};

/* When the N-th capture from the last one began that has this in common with WHAT; LEDGER_NEVER:
 * there were not so many. N is at least 1. */
int64_t ledger_capture_time(
	const struct ledger *l, enum ledger_of of, const struct ledger_what *what, uint64_t n);
/* The same of the starts of a rule. */
int64_t ledger_start_time(const struct ledger *l, const char *name, uint64_t n);
/* How many of the rule's captures of the process have come to nothing since one that did not, and
 * in *LAST_NS, if any, when the last of them had. */
unsigned int ledger_failures(
	const struct ledger *l, const struct ledger_what *what, int64_t *last_ns);
/* All starts of a rule, since ever. */
uint64_t ledger_started(const struct ledger *l, const char *name);
/* When it was armed first, or LEDGER_NEVER. */
int64_t ledger_armed_since(const struct ledger *l, const char *name);
/* How often a crash with this signature came again after its last capture. */
uint64_t ledger_repeats(const struct ledger *l, const char *signature);

/* As JSON text, *TEXT is the caller's to free(). BOOT_ID (/proc/sys/kernel/random/boot_id) says
 * which boot its times are of. 0 or -ENOMEM. */
int ledger_save(
	const struct ledger *l, const struct clock_pair *now, const char *boot_id, char **text);
/* What was saved, into a ledger that holds nothing yet. Within one boot times are what they were;
 * from another one, as long ago as CLOCK_REALTIME says, or just now if that was set back. 0,
 * -EFBIG (longer than LEDGER_TEXT_MAX), -EBADMSG (not what ledger_save() writes) or -ENOMEM; the
 * ledger is untouched then. */
#define LEDGER_TEXT_MAX (8u << 20)
int ledger_load(struct ledger *l, const char *text, size_t size, const struct clock_pair *now,
	const char *boot_id);
