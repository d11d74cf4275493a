/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/live.h"
#include "cli/monitor.h"
#include "cli/watch_options.h"
#include "lib/log.h"

int cmd_watch(int argc, char **argv)
{
	struct watch_options options;
	const struct rule *rule = &options.flags.rule;
	struct ledger *ledger = NULL;
	struct monitor_options monitor;
	int result;

	watch_options_parse(argc, argv, &options);
	if (ledger_new(NULL, &ledger) < 0) {
		log_error("event=arm what=ledger error=\"no memory\"");
		return EXIT_FAILED;
	}
	monitor = (struct monitor_options){
		.rules = {.v = rule, .n = 1},
		.ledger = ledger,
		.feed = {.out = rule->what.form == OUTPUT_STDOUT ? stderr : stdout,
			.json = options.flags.json,
			.quiet = options.flags.quiet,
			.store = rule->what.output},
		.duration_ns = options.flags.spec.duration_ns,
		.command = options.command,
		.name = "watch",
	};
	live_reap_orphans();
	result = monitor_run(&monitor);
	watch_options_free(&options);
	ledger_free(ledger);
	return result;
}
