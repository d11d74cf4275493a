/* SPDX-License-Identifier: MIT */
/* The loop: the only place that knows the order of the stages. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/ledger_file.h"
#include "config/host_limits.h"
#include "rules/rule_set.h"
#include "sink/feed.h"

struct monitor_options {
	struct rule_set rules; /* captures go where the first one says */
	struct ledger *ledger; /* the caller's, so that it can outlive a run */
	struct feed feed;
	uint64_t duration_ns;		  /* 0: no end */
	char **command;			  /* to start and watch, NULL: none */
	const char *name;		  /* of the subcommand */
	const struct host_limits *limits; /* the sentinel's; NULL: those of a watch */
	struct ledger_file *ledger_file;  /* where LEDGER is kept; NULL: nowhere */
	bool forever;			  /* not until the rules are spent or their targets gone */
	/* SIGHUP: reads the rules again; 0: they are others, or the same, and monitor_run() returns
	 * MONITOR_RELOAD. NULL: the signal ends the watch like others. */
	int (*reload)(void *arg);
	void *reload_arg;
};

#define MONITOR_RELOAD	(-1)
#define MONITOR_UNARMED (-2) /* with RELOAD alone, whose caller may have other rules to try */

/* Arms, runs until the rules are spent, its targets are gone, time is up or a signal says so, and
 * disarms. Returns the exit status; what went wrong has been said. */
int monitor_run(const struct monitor_options *options);
