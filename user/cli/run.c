/* SPDX-License-Identifier: MIT */
/* coretrap run: the rules of a file, until it is told to end. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/ledger_file.h"
#include "cli/live.h"
#include "cli/monitor.h"
#include "cli/run_options.h"
#include "cli/usage.h"
#include "lib/cleanup.h"
#include "lib/log.h"

enum {
	OPTION_CONFIG = 256,
	OPTION_JSON,
};

struct run_options {
	const char *path;
	bool json, quiet;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct run_options *o = state->input;

	switch (key) {
	case OPTION_CONFIG:
		o->path = arg;
		return 0;
	case OPTION_JSON:
		o->json = true;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case 'v':
		log_set_level(log_get_level() < LOG_LEVEL_INFO ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
		return 0;
	case ARGP_KEY_INIT:
		usage_one_line(state);
		return 0;
	case ARGP_KEY_END:
		if (o->json && o->quiet)
			argp_error(state, "--quiet: --json has every event");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

struct sentinel {
	const struct run_options *options;
	struct run_config config;
	struct run_config next; /* read upon SIGHUP, good, and not in force yet */
	bool has_next;
	struct run_config
		before; /* in force until CONFIG was read: comes back if that cannot be armed */
	bool has_before;
	struct ledger *ledger;
	struct ledger_file *file;
};

/* A file that is not good is refused, and the old rules stay. */
static int reload(void *arg)
{
	struct sentinel *s = arg;
	struct run_config config = {};
	int r = run_load(s->options->path, &config, stderr);

	if (r < 0) {
		log_error("event=reload error=\"the rules stay as they are\"");
		return r;
	}
	if (s->has_next)
		run_config_free(&s->next);
	s->next = config;
	s->has_next = true;
	return 0;
}

static struct ledger_limits limits_of(const struct host_limits *l)
{
	return (struct ledger_limits){
		.rule_per_day = l->rule_per_day,
		.signature_per_day = l->signature_per_day,
		.host_per_day = l->host_per_day,
		.process_spacing_ns = l->process_spacing_ns,
	};
}

/* What the file says of the host goes with each rule to where it is kept to. */
static void share_host(struct run_config *c)
{
	const struct host_limits *l = &c->config.limits;

	for (size_t i = 0; i < c->n; i++)
		c->rules[i].what.host = (struct host_share){
			.keep_free = l->store_free.bytes,
			.keep_free_pct = l->store_free.per_cent,
			.write_speed = l->write_speed,
			.crash_at_once = (unsigned int)l->crash_at_once,
		};
}

static int run_once(struct sentinel *s)
{
	const struct run_options *o = s->options;
	const struct ledger_limits limits = limits_of(&s->config.config.limits);
	struct monitor_options monitor;

	share_host(&s->config);
	ledger_set_limits(s->ledger, &limits);
	monitor = (struct monitor_options){
		.rules = run_config_rules(&s->config),
		.ledger = s->ledger,
		.feed = {.out = stdout,
			.json = o->json,
			.quiet = o->quiet,
			.store = s->config.config.store.text},
		.name = "run",
		.limits = &s->config.config.limits,
		.ledger_file = s->file,
		.forever = true,
		.reload = reload,
		.reload_arg = s,
	};
	return monitor_run(&monitor);
}

static void drop_before(struct sentinel *s)
{
	if (s->has_before)
		run_config_free(&s->before);
	s->has_before = false;
}

static void take_next(struct sentinel *s)
{
	drop_before(s);
	s->before = s->config;
	s->has_before = true;
	s->config = s->next;
	s->has_next = false;
	log_info("event=reload rules=%zu", s->config.n);
}

static void take_back(struct sentinel *s)
{
	run_config_free(&s->config);
	s->config = s->before;
	s->has_before = false;
	log_error("event=reload error=\"the new rules cannot be armed: those of before are back\"");
}

static int run_sentinel(struct sentinel *s)
{
	for (;;) {
		int result = run_once(s);

		if (result == MONITOR_RELOAD)
			take_next(s);
		else if (result == MONITOR_UNARMED && s->has_before)
			take_back(s);
		else
			return result == MONITOR_UNARMED ? EXIT_FAILED
			       : result == EXIT_NO_TRIP	 ? 0
							 : result;
	}
}

static void close_sentinel(struct sentinel *s)
{
	ledger_file_close(s->file);
	ledger_free(s->ledger);
	run_config_free(&s->config);
	drop_before(s);
	if (s->has_next)
		run_config_free(&s->next);
}

int cmd_run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"config", OPTION_CONFIG, "FILE", 0,
			"the rules (default " CONFIG_DEFAULT_PATH "); conf.d/*.yaml beside it too",
			0},
		{"json", OPTION_JSON, NULL, 0, "events on standard output as JSON lines", 0},
		{"quiet", 'q', NULL, 0, "say captures and refusals only", 0},
		{"verbose", 'v', NULL, 0, "say more on standard error", 0},
		{},
	};
	static const struct argp argp = {.options = options,
		.parser = parse,
		.doc = "Runs the rules of a file, until SIGTERM; reads it again upon SIGHUP."};
	_cleanup_(close_sentinel) struct sentinel s = {};
	struct run_options o = {.path = CONFIG_DEFAULT_PATH};
	int r;

	argv[0] = (char *)"coretrap run";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	s.options = &o;
	r = run_load(o.path, &s.config, stderr);
	if (r < 0)
		return r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
	r = ledger_new(NULL, &s.ledger);
	if (r == 0 && geteuid() == 0)
		r = ledger_file_open(s.ledger, &s.file);
	if (r < 0) {
		log_error("event=arm what=ledger error=\"%s\"", strerror(-r));
		return EXIT_FAILED;
	}
	live_reap_orphans();
	return run_sentinel(&s);
}
