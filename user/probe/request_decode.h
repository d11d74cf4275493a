/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "probe/requests.h"

/* Makes a request of a record of the kernel side, of which nothing is taken for granted; 0 or
 * -EBADMSG. Pure. */
int request_decode(const void *record, size_t size, struct request *out);
/* The same for what lies in a socket, */
int unread_decode(const void *record, size_t size, struct unread *out);
/* and for a peer that is waited for. */
int outbound_decode(const void *record, size_t size, struct outbound *out);
