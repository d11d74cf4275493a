/* SPDX-License-Identifier: MIT */
/* What runs in the process that parses. */
#pragma once

#include <stdnoreturn.h>

#include "target/places.h"

/* Locks itself in and writes one struct places to REPLYFD. */
noreturn void places_child_run(const struct places_wish *wish, int replyfd);
