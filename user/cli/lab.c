/* SPDX-License-Identifier: MIT */
/* coretrap lab: a process that misbehaves, to practise on. */
#include "cli/lab.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "capture/preflight.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/text.h"

enum lab_option {
	OPT_AFTER = 0x100,
	OPT_TIME,
	OPT_RATE,
	OPT_SIZE,
	OPT_THREADS,
	OPT_PERCENT,
	OPT_CODE,
	OPT_PORT,
	OPT_END,
};
#define BIT(option) (1U << ((option)-OPT_AFTER))

static int lab_slow(const struct lab_options *o);

static const struct lab_mode {
	const char *name;
	unsigned int takes; /* options that mean something */
	int (*run)(const struct lab_options *o);
	const char *command, *flags; /* to try on it: in front of its pid, and behind */
} modes[] = {
	{"crash", BIT(OPT_AFTER), lab_crash, "watch -p", ""},
	{"cpu", BIT(OPT_AFTER) | BIT(OPT_THREADS) | BIT(OPT_PERCENT), lab_cpu, "dump", ""},
	{"memory", BIT(OPT_AFTER) | BIT(OPT_RATE) | BIT(OPT_SIZE), lab_memory, "dump", ""},
	{"hang", BIT(OPT_AFTER), lab_hang, "dump", ""},
	{"slow", BIT(OPT_TIME) | BIT(OPT_PORT), lab_slow, "watch -p", " --request-slow 1s"},
	{"exit", BIT(OPT_AFTER) | BIT(OPT_CODE), lab_exit, "watch -p", " --observe"},
};

static const struct argp_option options[] = {
	{"after", OPT_AFTER, "TIME", 0, "all but slow: begin to misbehave after TIME (2s)", 0},
	{"threads", OPT_THREADS, "N", 0, "cpu: N threads (1)", 0},
	{"percent", OPT_PERCENT, "P", 0, "cpu: each is busy for P % of the time (100)", 0},
	{"rate", OPT_RATE, "SIZE", 0, "memory: grow by SIZE a second (20M)", 0},
	{"size", OPT_SIZE, "SIZE", 0, "memory: up to SIZE (512M)", 0},
	{"time", OPT_TIME, "TIME", 0, "slow: an answer to /slow takes TIME (3s)", 0},
	{"port", OPT_PORT, "N", 0, "slow: of 127.0.0.1; by default any that is free", 0},
	{"code", OPT_CODE, "N", 0, "exit: with status N (1)", 0},
	{},
};

struct lab {
	struct lab_options options;
	const struct lab_mode *mode;
	unsigned int given; /* bits of options */
};

static const char *option_name(unsigned int bit)
{
	for (size_t i = 0; options[i].name; i++)
		if (BIT(options[i].key) == bit)
			return options[i].name;
	return "?";
}

static void parse_number(struct argp_state *state, const char *arg, int key, uint64_t least,
	uint64_t most, uint64_t *out)
{
	if (text_parse_u64(arg, out) < 0 || *out < least || *out > most)
		argp_error(state, "--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64,
			option_name(BIT(key)), arg, least, most);
}

static void parse_time(struct argp_state *state, const char *arg, int key, uint64_t *out)
{
	if (text_parse_duration(arg, out) < 0)
		argp_error(
			state, "--%s: '%s' is not a time (250ms, 10s)", option_name(BIT(key)), arg);
}

static void parse_size(struct argp_state *state, const char *arg, int key, uint64_t *out)
{
	if (text_parse_size(arg, out) < 0 || *out == 0)
		argp_error(state, "--%s: '%s' is not a size (64M, 2G)", option_name(BIT(key)), arg);
}

static void parse_value(int key, const char *arg, struct argp_state *state)
{
	struct lab *lab = state->input;
	struct lab_options *o = &lab->options;

	lab->given |= BIT(key);
	switch (key) {
	case OPT_AFTER:
		parse_time(state, arg, key, &o->after_ns);
		break;
	case OPT_TIME:
		parse_time(state, arg, key, &o->time_ns);
		break;
	case OPT_RATE:
		parse_size(state, arg, key, &o->rate);
		break;
	case OPT_SIZE:
		parse_size(state, arg, key, &o->size);
		break;
	case OPT_THREADS:
		parse_number(state, arg, key, 1, 10000, &o->threads);
		break;
	case OPT_PERCENT:
		parse_number(state, arg, key, 1, 100, &o->percent);
		break;
	case OPT_CODE:
		parse_number(state, arg, key, 0, 255, &o->code);
		break;
	case OPT_PORT:
		parse_number(state, arg, key, 1, 65535, &o->port);
		break;
	}
}

static void parse_mode(struct argp_state *state, const char *arg)
{
	struct lab *lab = state->input;

	if (lab->mode)
		argp_error(state, "'%s' is one argument too many", arg);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(arg, modes[i].name) == 0)
			lab->mode = &modes[i];
	if (!lab->mode)
		argp_error(state, "'%s' is none of crash, cpu, memory, hang, slow, exit", arg);
}

static void check(struct argp_state *state, const struct lab *lab)
{
	if (!lab->mode)
		argp_error(state, "one of crash, cpu, memory, hang, slow, exit is needed");
	else
		for (unsigned int bit = 1; bit < BIT(OPT_END); bit <<= 1)
			if (lab->given & bit & ~lab->mode->takes)
				argp_error(state, "--%s means nothing to %s", option_name(bit),
					lab->mode->name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case ARGP_KEY_INIT:
		usage_one_line(state);
		return 0;
	case ARGP_KEY_ARG:
		parse_mode(state, arg);
		return 0;
	case ARGP_KEY_END:
		check(state, state->input);
		return 0;
	default:
		if (key < OPT_AFTER || key >= OPT_END)
			return ARGP_ERR_UNKNOWN;
		parse_value(key, arg, state);
		return 0;
	}
}

static int lab_slow(const struct lab_options *o)
{
	uint64_t port = o->port;
	_cleanup_close_ int fd = lab_listen(&port);

	if (fd < 0) {
		fprintf(stderr, "coretrap lab: port %" PRIu64 ": %s\n", port, strerror(-fd));
		return EXIT_FAILED;
	}
	signal(SIGPIPE, SIG_IGN);
	printf("serving http://127.0.0.1:%" PRIu64 "/ and /slow\n", port);
	fflush(stdout);
	return lab_serve(fd, o->time_ns) < 0 ? EXIT_FAILED : 0;
}

static void introduce(const struct lab_mode *mode)
{
	int pid = (int)getpid();

	printf("pid %d\ntry: coretrap %s %d%s\n", pid, mode->command, pid, mode->flags);
	fflush(stdout);
}

int cmd_lab(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "crash|cpu|memory|hang|slow|exit",
		.doc = "A process that misbehaves, to practise on: it crashes, burns CPU, grows, "
		       "locks "
		       "itself up, answers late, or exits. Its command name is " PREFLIGHT_LAB_COMM
		       ".",
	};
	struct lab lab = {.options = {.after_ns = 2 * NSEC_PER_SEC,
				  .time_ns = 3 * NSEC_PER_SEC,
				  .rate = 20 << 20,
				  .size = 512 << 20,
				  .threads = 1,
				  .percent = 100,
				  .code = 1}};

	argv[0] = (char *)"coretrap lab";
	argp_parse(&argp, argc, argv, 0, NULL, &lab);
	/* So that it is not taken for one of those that capture, which never are captured. */
	prctl(PR_SET_NAME, PREFLIGHT_LAB_COMM, 0, 0, 0);
	introduce(lab.mode);
	return lab.mode->run(&lab.options);
}
