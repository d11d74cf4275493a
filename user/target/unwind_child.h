/* SPDX-License-Identifier: MIT */
/* What runs in the unwinder's process. */
#pragma once

#include <jansson.h>
#include <stdnoreturn.h>

#include "target/unwind.h"

/* Opens the process' files, locks itself in, and writes one JSON line a thread to REPLYFD. Exits
 * with 0, or 1. */
noreturn void unwind_child_run(const struct unwind_request *req, int replyfd);
