/* SPDX-License-Identifier: MIT */
/* Names of captures: <YYYYmmddTHHMMSSZ>-<comm>-<pid>-<trigger>-<4 hex>. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define STORE_TEMPORARY	    ".tmp-"
#define STORE_TEMPORARY_MAX (STORE_ID_MAX + sizeof(STORE_TEMPORARY))

/* The id of NAME, made unique by SALT. */
void store_name_format(const struct store_name *name, uint16_t salt, char id[STORE_ID_MAX]);
/* Whether ID has the form of a capture's name; such a name is a single, safe path component. */
bool store_name_valid(const char *id);
/* ".tmp-<id>" */
void store_name_temporary(const char *id, char out[STORE_TEMPORARY_MAX]);
/* Whether NAME is a temporary of ours; anybody else's ".tmp-…" is not ours to remove. */
bool store_name_is_temporary(const char *name);
/* The process name in a valid ID, and its length: the beginning of what is between the time and the
 * last three parts. */
const char *store_name_comm(const char *id, size_t *length);
