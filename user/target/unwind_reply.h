/* SPDX-License-Identifier: MIT */
/* What the unwinder's process may say. It has parsed hostile files, so it may be somebody else's by
 * now. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "target/registers.h"

#define UNWIND_MODULE_MAX   4096u /* bytes, before escaping */
#define UNWIND_SYMBOL_MAX   1024u
#define UNWIND_BUILD_ID_MAX 32u
#define UNWIND_NOTES_MAX    16u

/* Checks one line (without its newline) and builds anew what it says of one thread: known keys of
 * the known types and bounds only. *out: new reference. -EPROTO for anything else, -ENOMEM. Pure.
 */
int unwind_reply_parse(const char *line, size_t len, unsigned int max_frames, json_t **out);
