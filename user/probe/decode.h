/* SPDX-License-Identifier: MIT */
/* Wire record to event. */
#pragma once

#include "probe/event.h"

/* Decodes SIZE bytes of a ring-buffer record, trusting nothing in them. BOOT_TO_REAL_NS is what to
 * add to CLOCK_BOOTTIME to get CLOCK_REALTIME. *out is new (event_free()); -EBADMSG for what is not
 * a record. */
int decode_record(const void *record, size_t size, int64_t boot_to_real_ns, struct event **out);
