/* SPDX-License-Identifier: MIT */
/* A configuration in canonical form, which reads as the same configuration again. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/run_options.h"

/* EFFECTIVE: the defaults in each rule that they have an effect on, in place of a section of their
 * own. NULL without
 * memory; the caller owns it. */
json_t *config_show(const struct run_config *c, bool effective);
/* Prints it as YAML. 0, -ENOMEM or -EIO. */
int config_show_yaml(const json_t *shown, FILE *out);
