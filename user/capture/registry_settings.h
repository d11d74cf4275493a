/* SPDX-License-Identifier: MIT */
/* The three settings of the kernel that a registration changes, saved and put back. Callers hold
 * the lock. */
#pragma once

#include <stdbool.h>

struct settings {
	int runtimefd; /* borrowed; "saved" is below it */
	int sysctlfd;  /* borrowed */
};

/* Whether a registration that was not ended left saved values. */
bool settings_saved(const struct settings *s);

/* Writes down what is set now and what PATTERN and its companions are going to be; changes nothing
 * else. */
int settings_save(const struct settings *s, const char *pattern);

/* Sets what settings_save() wrote down. *which (may be NULL) names the setting that failed. */
int settings_apply(const struct settings *s, const char **which);

/* Puts back each setting that is still as coretrap set it, and forgets the saved values. What
 * failed is tried again by the next caller: the saved values stay then. */
int settings_restore(const struct settings *s);

/* Takes over what others have set since: it becomes what will be put back. Returns the number of
 * settings that differed, and the foreign pattern as a new string in *foreign (untouched when that
 * was still ours). */
int settings_adopt(const struct settings *s, char **foreign);
