/* SPDX-License-Identifier: MIT */
/* Which pages a mini core needs: stacks, what registers and stacks point to, what a debugger needs
 * for libraries. */
#pragma once

#include "core/core.h"
#include "core/ranges.h"

/* Reads the process to find them; *out is settled. Bounds that were met go into NOTES. 0 or
 * -ENOMEM. */
int mini_select(const struct core_request *req, const bool *elf, struct ranges *out, json_t *notes);
