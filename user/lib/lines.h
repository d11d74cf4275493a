/* SPDX-License-Identifier: MIT */
/* Lines that another process writes into a pipe, read as they come. */
#pragma once

#include <stddef.h>

struct lines {
	int fd; /* does not block */
	char *bytes;
	size_t used, room;
	size_t taken; /* of the line that was handed out last */
};

#define LINES_NONE ((struct lines){.fd = -1})
#define LINES_MAX  (4 << 20) /* bytes of one */

/* A pipe whose read end becomes L's and does not block; *WRITE_FD is the caller's. */
int lines_open(struct lines *l, int *write_fd);
/* 1: *LINE is the next one without its newline, NUL-terminated, valid until the next call; 0: none
 * yet; -ENODATA: no more will come; -EMSGSIZE: it is too long; or another -errno. */
int lines_next(struct lines *l, char **line);
void lines_close(struct lines *l);
