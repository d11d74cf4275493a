/* SPDX-License-Identifier: MIT */
#include "cli/flags.h"

#include <errno.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/destination.h"
#include "lib/log.h"

enum { /* apart from the options of the commands */
	OPT_KIND = 0x1000,
	OPT_SNAPSHOT,
	OPT_MAX_PAUSE,
	OPT_COMPRESS,
	OPT_COMPRESS_THREADS,
	OPT_COMMENT,
	OPT_FORCE,
	OPT_IGNORE_CORE_LIMIT,
	OPT_JSON,
};

static const struct argp_option what_options[] = {
	{"kind", OPT_KIND, "full|heap|mini|stacks|none", 0,
		"how much of it (default full); none, for rules only: the record alone", 0},
	{"snapshot", OPT_SNAPSHOT, "auto|fork|stop", 0,
		"of a process that runs: write a copy-on-write clone while it goes on, or the "
		"process itself while it stands still (default: a clone where that is possible)",
		0},
	{"max-pause", OPT_MAX_PAUSE, "TIME", 0,
		"a process that runs stands still no longer (default: 250ms for rules, as long as "
		"it takes for dump); with a longer estimate, stacks only",
		0},
	{"compress", OPT_COMPRESS, "zstd|none", 0,
		"of the core (default zstd; none: a sparse file)", 0},
	{"compress-threads", OPT_COMPRESS_THREADS, "N", 0,
		"that compress it (default: as many as the machine can spare)", 0},
	{"output", 'o', "DIR|FILE|-", 0,
		"a store of captures (default /var/lib/coretrap), a new file, or standard output",
		0},
	{"force", OPT_FORCE, 0, 0, "replace FILE, where it is there already", 0},
	{"comment", OPT_COMMENT, "TEXT", 0, "kept with the capture", 0},
	{"ignore-core-limit", OPT_IGNORE_CORE_LIMIT, 0, 0,
		"memory also where the hard RLIMIT_CORE is 0", 0},
	{0},
};

static const struct argp_option print_options[] = {
	{"json", OPT_JSON, 0, 0, "the events as JSON lines on standard output", 0},
	{"quiet", 'q', 0, 0, "only captures, refusals, and what went wrong", 0},
	{"verbose", 'v', 0, 0, "more on standard error; twice: still more", 0},
	{0},
};

void flags_init(struct flags *f, const struct rule *rule)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	*f = (struct flags){.rule = *rule};
	f->spec = (struct spec){
		.rule = &f->rule, .dashes = "--", .cpus = cpus > 0 ? (unsigned int)cpus : 0};
}

void flags_free(struct flags *f)
{
	rule_free(&f->rule);
}

error_t flags_set(struct flags *f, struct argp_state *state, const struct argp_option *options,
	int key, const char *arg)
{
	char why[SPEC_WHY_MAX];
	int r;

	while (options->key != key)
		if (!options->key && !options->name && !options->doc)
			return ARGP_ERR_UNKNOWN;
		else
			options++;
	r = spec_set(&f->spec, options->name, arg, why);
	if (r == -ESRCH)
		argp_failure(state, EXIT_TARGET_GONE, 0, "--%s: %s", options->name, why);
	else if (r == -EINVAL)
		argp_error(state, "--%s: %s", options->name, why);
	else if (r < 0)
		argp_failure(state, EXIT_FAILED, 0, "--%s: %s", options->name, why);
	return 0;
}

void flags_finish(struct flags *f, struct argp_state *state,
	int (*finish)(struct spec *s, const char **name, char why[SPEC_WHY_MAX]))
{
	struct capture_options *what = &f->rule.what;
	char why[SPEC_WHY_MAX];
	const char *name;

	what->form = destination_form(what->output);
	if (finish(&f->spec, &name, why) < 0) {
		if (name)
			argp_error(state, "--%s: %s", name, why);
		argp_error(state, "%s", why);
	}
	if (what->form == OUTPUT_STDOUT && f->json)
		argp_error(state, "--output: standard output cannot take the core and --json both");
	if (f->json && f->quiet)
		argp_error(state, "--quiet: --json has every event");
}

static error_t parse_what(int key, char *arg, struct argp_state *state)
{
	return flags_set(state->input, state, what_options, key, arg);
}

static error_t parse_print(int key, char *arg, struct argp_state *state)
{
	struct flags *f = state->input;

	(void)arg;
	switch (key) {
	case OPT_JSON:
		f->json = true;
		return 0;
	case 'q':
		f->quiet = true;
		return 0;
	case 'v':
		log_set_level(log_get_level() < LOG_LEVEL_INFO ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp flags_what_argp = {.options = what_options, .parser = parse_what};
const struct argp flags_print_argp = {.options = print_options, .parser = parse_print};
