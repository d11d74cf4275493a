/* SPDX-License-Identifier: MIT */
/* The environment of a program that is run for an incident. */
#pragma once

#include <jansson.h>

#include "cli/actions.h"

/* Ours without what concerns us alone, and CORETRAP_… for what shell scripts ask for most; what a
 * process chose is made printable. A new list that ends in NULL, or NULL without memory. */
char **actions_environment(const json_t *incident, enum actions_when when);
