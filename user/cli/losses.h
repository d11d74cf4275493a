/* SPDX-License-Identifier: MIT */
/* The `loss` events: what could not be delivered, judged or held, by reason. */
#pragma once

#include "capture/registry.h"
#include "cli/in_flight.h"
#include "cli/inside.h"
#include "cli/targets.h"
#include "probe/probe.h"
#include "sink/feed.h"

/* Says what was lost since the last call. Returns whether records of the kernel side were. */
bool losses_say(const struct feed *f, struct probe *p, struct targets *t);
/* The same of the probe of requests. */
void losses_say_requests(const struct feed *f, struct in_flight *in_flight);
/* The same of the probes on functions. */
void losses_say_functions(const struct feed *f, struct inside *inside);
/* Looks whether kernel.core_pattern is still ours, and says so if it was not. */
void losses_say_pattern(const struct feed *f, struct registry *r);
