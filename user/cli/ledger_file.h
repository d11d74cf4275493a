/* SPDX-License-Identifier: MIT */
/* What the sentinel has captured, in RUNTIME_DIRECTORY: it outlasts the sentinel, so that counts,
 * rates and days hold across its restart. Not a boot of the host: that directory does not. */
#pragma once

#include "rules/ledger.h"

struct ledger_file;

/* Puts what an earlier run left into LEDGER (borrowed, and empty), which is to be saved from then
 * on. What cannot be read is logged, and not counted. 0 or -errno. */
int ledger_file_open(struct ledger *ledger, struct ledger_file **out);
/* Writes it, if it has changed. */
void ledger_file_save(struct ledger_file *f);
/* The same, and frees. NULL-safe. */
void ledger_file_close(struct ledger_file *f);
