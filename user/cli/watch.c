/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/live.h"
#include "cli/monitor.h"
#include "cli/watch_options.h"

int cmd_watch(int argc, char **argv)
{
	struct watch_options options;
	const struct rule *rule = &options.flags.rule;
	struct rule_state state = {0};
	struct monitor_options monitor;
	int result;

	watch_options_parse(argc, argv, &options);
	monitor = (struct monitor_options){
		.rules = {.v = rule, .n = 1},
		.states = &state,
		.feed = {.out = rule->what.form == OUTPUT_STDOUT ? stderr : stdout,
			.json = options.flags.json,
			.quiet = options.flags.quiet,
			.store = rule->what.output},
		.duration_ns = options.flags.spec.duration_ns,
		.command = options.command,
	};
	live_reap_orphans();
	result = monitor_run(&monitor);
	watch_options_free(&options);
	return result;
}
