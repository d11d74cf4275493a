/* SPDX-License-Identifier: MIT */
/* A program that is run for an incident: bounded in time and output, and nothing of it is left
 * when it ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMMAND_OUTPUT_MAX (64U << 10) /* kept; the rest is read and counted */

struct command {
	char *const *argv; /* argv[0] is the path */
	char *const *environment;
	const char *input; /* its standard input */
	size_t input_size;
	uint64_t limit_ns; /* then SIGTERM, and 2 s later SIGKILL */
	int stopfd;	   /* readable: it is ended at once; -1: nothing will */
};

struct command_result {
	int status; /* as of wait(2) */
	bool timed_out, stopped;
	uint64_t duration_ns;
	char *output; /* standard output and standard error, as they came */
	size_t output_size;
	uint64_t output_bytes; /* in all */
	size_t killed;	       /* processes that it left behind */
	bool left;	       /* some of those did not go away */
};

/* Runs it to its end, with standard input, output and error as its only descriptors, in a session
 * of its own. What it starts and leaves behind is killed, daemons as well. The caller is a
 * process of its own for this: it becomes a subreaper, has no other children, and something is open
 * as its descriptors 0 to 2. 0, or
 * -errno when the program could not be started. command_result_free() OUT. */
int command_run(const struct command *c, struct command_result *out);
void command_result_free(struct command_result *r);
#define _cleanup_command_result_ __attribute__((cleanup(command_result_free)))
