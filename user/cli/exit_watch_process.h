/* SPDX-License-Identifier: MIT */
/* The inside of a tracer process. */
#pragma once

#include "cli/exit_watch.h"

_Noreturn void exit_watch_process(const struct exit_watch_request *request, int replyfd);
