/* SPDX-License-Identifier: MIT */
/* A stored core, made plain again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Copies the core in FROM (zstd if COMPRESSED), from where it stands, to TO. SPARSE: TO is an empty
 * regular file, in which zero blocks become holes. CANCELLED (may be NULL) is asked between blocks.
 * *bytes: the size of the plain core. 0; -EBADMSG: damaged or cut short; -ENOSPC, -EPIPE …;
 * -ECANCELED. */
int store_unpack(
	int from, bool compressed, int to, bool sparse, bool (*cancelled)(void), uint64_t *bytes);
