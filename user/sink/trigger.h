/* SPDX-License-Identifier: MIT */
/* What a trigger of any kind that watches the living says, told to a person. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* In words, without a newline; false, and nothing, where it is of another kind (a signal, an exit,
 * manual). */
bool trigger_print(FILE *out, const json_t *trigger);
