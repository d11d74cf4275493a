/* SPDX-License-Identifier: MIT */
/* Lists that grow while a pass finds what is to be told. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Room for one more in *V, which holds N elements of SIZE bytes and has room for *ROOM; false:
 * there is no memory for it, which was said, and *V is as it was. */
bool room_for_one(void **v, size_t n, size_t *room, size_t size);
