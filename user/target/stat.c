/* SPDX-License-Identifier: MIT */
#include "target/stat.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define PF_EXITING 4 /* include/linux/sched.h */

int stat_parse(const char *line, size_t len, struct stat_line *out)
{
	const char *open = memchr(line, '(', len), *end = memrchr(line, ')', len);
	struct stat_line s = {};
	unsigned long long start, user, system;
	unsigned int flags;
	size_t name;

	if (!open || !end || end < open)
		return -EINVAL;
	name = (size_t)(end - open - 1);
	if (name >= sizeof(s.comm))
		name = sizeof(s.comm) - 1;
	memcpy(s.comm, open + 1, name);
	/* Fields 3 (state), 4 (ppid), 9 (flags), 14 (utime), 15 (stime), 20 (num_threads), 22
	 * (starttime): Documentation/filesystems/proc.rst */
	if (sscanf(end + 1,
		    " %c %d %*d %*d %*d %*d %u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %ld %*d "
		    "%llu",
		    &s.state, &s.ppid, &flags, &user, &system, &s.threads, &start) != 7)
		return -EINVAL;
	s.exiting = flags & PF_EXITING;
	s.cpu_ticks = user + system;
	s.start_ticks = start;
	*out = s;
	return 0;
}

int stat_read(int procfd, struct stat_line *out)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = io_read_file_at(procfd, "stat", 4096, &text, &len);

	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	return stat_parse(text, len, out);
}
