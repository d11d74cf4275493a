/* SPDX-License-Identifier: MIT */
/* The file behind a mapping. */
#pragma once

#include <sys/types.h>

#include "target/maps.h"

/* Opens, for reading, the very file that M maps, also where it is unlinked or in another mount
 * namespace; PROCFD is a /proc/PID directory, TID a live thread, for when the leader is gone. A
 * descriptor, or -errno: -EINVAL where it is no regular file, -ESTALE where only another one of the
 * name is left. */
int mapped_open(int procfd, pid_t tid, const struct mapping *m);
