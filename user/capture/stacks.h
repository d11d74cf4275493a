/* SPDX-License-Identifier: MIT */
/* The stacks of a stopped process, copied so that it need not wait until they are unwound. */
#pragma once

#include "capture/thread_state.h"
#include "target/maps.h"

/* Copies what lies above each thread's stack pointer (and the vDSO, whose frames are on many
 * stacks) from MEMFD into the file STACKSFD, each byte at its own address; the rest is a hole. What
 * cannot be read is left out: the traces end there. */
void stacks_copy(int stacksfd, int memfd, const struct maps *maps, const struct thread_states *s);
