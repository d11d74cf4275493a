/* SPDX-License-Identifier: MIT */
/* Reservations of terabytes: sanitizers, Go, Java and others map far more than they ever touch. As
 * zeros they would make the file larger than file systems allow (16 TiB on ext4), and compressed
 * still cost 32 MB a TiB. */
#pragma once

#include "core/plan.h"
#include "target/memory.h"

#define VAST_SIZE (32UL << 30) /* bytes */

/* Leaves out of PLAN, not ordered yet, all stretches of 2 * VAST_SIZE that were never touched, and
 * none below VAST_SIZE; segments of their own with nothing in the core. On kernels that cannot find
 * them, none. 0 or -ENOMEM. */
int vast_leave_out(struct plan *plan, struct memory *memory);
