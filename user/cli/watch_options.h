/* SPDX-License-Identifier: MIT */
/* The command line of `watch`, turned into one rule. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/flags.h"

struct watch_options {
	struct flags flags;
	char **command; /* after --, NULL: none; borrowed from argv */
};

/* Parses ARGV; exits with status 2 and one line that names the flag where something makes no sense,
 * 0 for --help, and 3 where a --pid does not exist. */
void watch_options_parse(int argc, char **argv, struct watch_options *out);
void watch_options_free(struct watch_options *o);
