/* SPDX-License-Identifier: MIT */
/* The subcommands: each takes its own argument list (argv[0] is its name) and returns the exit
 * status. */
#pragma once

enum exit_status {
	EXIT_CAPTURED = 0, /* as asked */
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_TARGET_GONE = 3, /* before anything was captured */
	EXIT_NO_TRIP = 4,     /* --duration passed */
};

int cmd_watch(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_procdump(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_debug(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_prune(int argc, char **argv);
int cmd_why(int argc, char **argv);
int cmd_lab(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_core_handler(int argc, char **argv);
