/* SPDX-License-Identifier: MIT */
/* Usage errors in one line: argp says a second one ("Try … --help"), which is noise in a log. */
#pragma once

#include <argp.h>

/* For ARGP_KEY_INIT: from here on this parse says what is wrong and nothing else. */
void usage_one_line(struct argp_state *state);
