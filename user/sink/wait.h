/* SPDX-License-Identifier: MIT */
/* What a thread waits in, as events tell it: {"call":"futex","channel":"futex_wait_queue",
 * "stack":[…]}, of each what is known. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "target/wait.h"

/* KERNEL_STACK is as wait_read_stack() has it, or NULL. New reference, NULL without memory. */
json_t *wait_json(const struct thread_wait *wait, const char *kernel_stack);
/* " (futex)", or nothing: WAIT may be NULL. */
void wait_print(FILE *out, const json_t *wait);
