/* SPDX-License-Identifier: MIT */
/* /proc/PID/stat, parsed behind the last ')': the name before it may hold anything. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stat_line {
	char comm[16];
	char state;
	pid_t ppid;
	bool exiting;	    /* it runs no code of its own any more */
	uint64_t cpu_ticks; /* user and system time of its threads, also of those that ended */
	long threads;
	uint64_t start_ticks; /* clock ticks (1/100 s) since boot */
};

/* Parses the line; -EINVAL when it is not one. Pure. */
int stat_parse(const char *line, size_t len, struct stat_line *out);
/* Reads stat below PROCFD; -ESRCH when the process is gone. */
int stat_read(int procfd, struct stat_line *out);
