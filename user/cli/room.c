/* SPDX-License-Identifier: MIT */
#include "cli/room.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/log.h"

bool room_for_one(void **v, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : 16;
	void *bigger;

	if (n < *room)
		return true;
	bigger = reallocarray(*v, more, size);
	if (!bigger) {
		log_error("event=trip errno=%d", ENOMEM);
		return false;
	}
	*v = bigger;
	*room = more;
	return true;
}
