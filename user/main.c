/* SPDX-License-Identifier: MIT */
#include <argp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "lib/cleanup.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help; /* NULL: not for people */
} commands[] = {
	{"watch", cmd_watch, "watch processes, and capture those that spring a trap"},
	{"run", cmd_run, "the sentinel: the rules of a file, until it is told to end"},
	{"dump", cmd_dump, "capture a running process, now"},
	{"procdump", cmd_procdump, "dump by the command line of Sysinternals' ProcDump"},
	{"list", cmd_list, "list the captures"},
	{"show", cmd_show, "say what a capture holds"},
	{"debug", cmd_debug, "open a capture in a debugger"},
	{"export", cmd_export, "write a capture as a plain core file"},
	{"rm", cmd_rm, "remove captures"},
	{"config", cmd_config, "check or show a file of rules"},
	{"prune", cmd_prune, "remove captures until the store is within its bounds"},
	{"why", cmd_why, "say which rules watch a process, and why they have not tripped"},
	{"doctor", cmd_doctor, "say what this kernel and host can do, and what to change"},
	{"lab", cmd_lab, "a process that misbehaves, to practise on"},
	{"core-handler", cmd_core_handler, NULL},
};

static void print_help(FILE *out)
{
	fputs("usage: coretrap COMMAND [OPTION…]\n\n"
	      "Sets traps on Linux processes, and captures a core dump when one springs.\n\n",
		out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].help)
			fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	fputs("\n'coretrap COMMAND --help' tells the options of a command.\n", out);
}

/* Called by the name of the tool whose command line is understood. */
static bool is_procdump(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	return strcmp(name, "procdump") == 0 || strcmp(name, "coretrap-procdump") == 0;
}

int main(int argc, char **argv)
{
	argp_err_exit_status = EXIT_USAGE;
	if (argc > 0 && is_procdump(argv[0]))
		return cmd_procdump(argc, argv);
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
		strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("coretrap " CORETRAP_VERSION);
		return 0;
	}
	fprintf(stderr, "coretrap: '%s' is not a command; 'coretrap --help' lists them\n", argv[1]);
	return EXIT_USAGE;
}
