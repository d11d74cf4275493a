/* SPDX-License-Identifier: MIT */
#include "cli/procdump_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"
#include "lib/text.h"

#define NO_WINDOWS   "there are no such windows on Linux"
#define NO_EXCEPTION "exceptions of languages are not seen yet"
#define NO_DOTNET    "the .NET runtime is not asked"
#define NO_COUNTERS \
	"there are no such counters on Linux; -c, -m, -tc and -fc have what they count most"
#define ONE_DEATH "only the death of the process is an event here"

static const struct procdump_option options[PROCDUMP_IDS] = {
	[PROCDUMP_MM] = {"-mm", NULL, "mini: stacks and what they point to (the default)",
		"--kind mini", NULL},
	[PROCDUMP_MA] = {"-ma", NULL, "full: all memory", "--kind full", NULL},
	[PROCDUMP_MT] = {"-mt", NULL, "triage: stacks, without what is sensitive",
		"--kind stacks (threads and frames, no memory)", NULL},
	[PROCDUMP_MP] = {"-mp", NULL, "mini plus: private and writable memory", "--kind heap",
		NULL},
	[PROCDUMP_MC] = {"-mc", "MASK", "memory by a mask", NULL,
		"the process' own coredump_filter says what is taken"},
	[PROCDUMP_MD] = {"-md", "DLL", "memory that a callback names", NULL,
		"no code of others runs in here"},
	[PROCDUMP_D] = {"-d", "DLL", "the same, its older name", NULL,
		"no code of others runs in here"},
	[PROCDUMP_MK] = {"-mk", NULL, "also a kernel dump", NULL,
		"memory of the kernel is not taken"},
	[PROCDUMP_N] = {"-n", "COUNT", "dumps before the end (1)", "--count COUNT", NULL},
	[PROCDUMP_S] = {"-s", "SECONDS",
		"so long must a threshold hold, anew for each dump (10); without one, the time "
		"between two dumps",
		"--for SECONDS; --every SECONDS", NULL},
	[PROCDUMP_C] = {"-c", "PERCENT", "CPU at or above, of the whole machine",
		"--cpu PERCENT --cpu-base machine", NULL},
	[PROCDUMP_CL] = {"-cl", "PERCENT", "CPU below, of the whole machine",
		"--cpu-below PERCENT --cpu-base machine", NULL},
	[PROCDUMP_U] = {"-u", NULL, "-c and -cl are of one core; alone: uninstall",
		"--cpu-base core; alone it is refused: nothing was installed", NULL},
	[PROCDUMP_M] = {"-m", "MB", "committed memory at or above", "--memory MBM", NULL},
	[PROCDUMP_ML] = {"-ml", "MB", "committed memory below", "--memory-below MBM", NULL},
	[PROCDUMP_P] = {"-p", "COUNTER THRESHOLD", "a performance counter at or above", NULL,
		NO_COUNTERS},
	[PROCDUMP_PL] = {"-pl", "COUNTER THRESHOLD", "a performance counter below", NULL,
		NO_COUNTERS},
	[PROCDUMP_H] = {"-h", NULL, "a window hangs", NULL, NO_WINDOWS},
	[PROCDUMP_E] = {"-e", "[1]",
		"an exception that nobody handles; 1: also one that is handled",
		"--signal fatal --exit nonzero; 1 is refused: " NO_EXCEPTION, NULL},
	[PROCDUMP_G] = {"-g", NULL, "as a native debugger in a managed process", NULL,
		"no debugger is attached"},
	[PROCDUMP_B] = {"-b", NULL, "debug breakpoints are exceptions, with -e",
		"nothing to add: --signal fatal has SIGTRAP", NULL},
	[PROCDUMP_LD] = {"-ld", NULL, "a module is loaded", NULL, ONE_DEATH},
	[PROCDUMP_UD] = {"-ud", NULL, "a module is unloaded", NULL, ONE_DEATH},
	[PROCDUMP_CT] = {"-ct", NULL, "a thread is created", NULL, ONE_DEATH},
	[PROCDUMP_ET] = {"-et", NULL, "a thread ends", NULL, ONE_DEATH},
	[PROCDUMP_L] = {"-l", NULL, "show the debug log", NULL,
		"Linux has no debug log of a process"},
	[PROCDUMP_T] = {"-t", NULL, "the process ends", "--exit any", NULL},
	[PROCDUMP_F] = {"-f", "FILTER", "only exceptions of this text", NULL, NO_EXCEPTION},
	[PROCDUMP_FX] = {"-fx", "FILTER", "no exceptions of this text", NULL, NO_EXCEPTION},
	[PROCDUMP_DC] = {"-dc", "TEXT", "comment", "--comment TEXT", NULL},
	[PROCDUMP_O] = {"-o", NULL, "overwrite a dump file",
		"--force with a file; in a folder no two have one name", NULL},
	[PROCDUMP_R] = {"-r", "[1..5]", "dump a clone; so many at once",
		"--snapshot fork; one at a time, whatever the number", NULL},
	[PROCDUMP_A] = {"-a", NULL, "avoid an outage by too many clones, with -r",
		"nothing to add: a capture waits for no other while the process stands", NULL},
	[PROCDUMP_AT] = {"-at", "SECONDS", "avoid an outage: give a dump up then",
		"--max-pause SECONDS", NULL},
	[PROCDUMP_K] = {"-k", NULL, "kill the process after the dump", "--then kill", NULL},
	[PROCDUMP_WER] = {"-wer", NULL, "queue it to Windows Error Reporting", NULL,
		"there is none on Linux"},
	[PROCDUMP_64] = {"-64", NULL, "64-bit dump of a 32-bit process", NULL,
		"32-bit processes are not dumped yet"},
	[PROCDUMP_W] = {"-w", NULL, "wait until the process is there", "--name NAME", NULL},
	[PROCDUMP_X] = {"-x", "FOLDER IMAGE ARGUMENTS", "start it",
		"--output FOLDER -- IMAGE ARGUMENTS", NULL},
	[PROCDUMP_I] = {"-i", "[FOLDER]", "install as postmortem debugger", NULL,
		"watch --all watches every process as long as it runs"},
	[PROCDUMP_CANCEL] = {"-cancel", "PID", "end those that monitor it", NULL,
		"a watch ends by SIGINT or SIGTERM"},
	[PROCDUMP_V] = {"-v", NULL, "verbose", "--verbose", NULL},
	[PROCDUMP_Y] = {"-y", NULL, "activation of Store applications", NULL,
		"there are none on Linux"},
	[PROCDUMP_ACCEPTEULA] = {"-accepteula", NULL, "accept the licence",
		"nothing: there is none to accept", NULL},
	[PROCDUMP_NOBANNER] = {"-nobanner", NULL, "no banner", "nothing: there is none", NULL},
	[PROCDUMP_HELP] = {"-?", NULL, "help", "these options", NULL},
	[PROCDUMP_TC] = {"-tc", "COUNT", "Linux: threads at or above", "--threads COUNT", NULL},
	[PROCDUMP_FC] = {"-fc", "COUNT", "Linux: open descriptors at or above", "--fds COUNT",
		NULL},
	[PROCDUMP_SIG] = {"-sig", "N,...", "Linux: it gets one of these signals",
		"--signal N,... (it dies of one; a handled signal is not captured)", NULL},
	[PROCDUMP_PF] = {"-pf", "MS", "Linux: time between two looks (1000)", "--interval MSms",
		NULL},
	[PROCDUMP_PGID] = {"-pgid", NULL, "Linux: the id is that of a process group",
		"--pid of each that is in it, and --tree", NULL},
	[PROCDUMP_LOG] = {"-log", "stdout", "Linux: trace what it does",
		"--verbose (on standard error); syslog is refused", NULL},
	[PROCDUMP_GCM] = {"-gcm", "MB,...", "Linux: memory of the .NET heap", NULL, NO_DOTNET},
	[PROCDUMP_GCGEN] = {"-gcgen", "GENERATION", "Linux: a .NET garbage collection", NULL,
		NO_DOTNET},
	[PROCDUMP_PC] = {"-pc", "COUNTER THRESHOLD", "Linux: a .NET counter at or above", NULL,
		NO_DOTNET},
	[PROCDUMP_PCL] = {"-pcl", "COUNTER THRESHOLD", "Linux: a .NET counter below", NULL,
		NO_DOTNET},
	[PROCDUMP_RESTRACK] = {"-restrack", "[nodump]", "Linux: track allocations", NULL,
		"no allocation is hooked; --memory-growth finds a leak"},
	[PROCDUMP_SR] = {"-sr", "RATE", "Linux: how many allocations are tracked", NULL,
		"no allocation is hooked"},
	[PROCDUMP_USEGCORE] = {"-usegcore", NULL, "Linux: dump by gcore", NULL,
		"coretrap writes the core itself"},
};

const struct procdump_option *procdump_options(size_t *n)
{
	*n = PROCDUMP_IDS;
	return options;
}

__attribute__((format(printf, 2, 3))) static int refuse(
	char why[PROCDUMP_WHY_MAX], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, PROCDUMP_WHY_MAX, format, args);
	va_end(args);
	return -EINVAL;
}

/* WORD comes from the command line of somebody else's script: it is shown printable. */
static int refuse_word(char why[PROCDUMP_WHY_MAX], const char *word, const char *rest)
{
	_cleanup_free_ char *shown = text_printable(word, strlen(word), 60);

	return refuse(why, "'%.150s' %s", shown ? shown : "", rest);
}

static int find(const char *word)
{
	if (word[0] != '-' && word[0] != '/')
		return -ENOENT;
	if (strcmp(word, "--help") == 0) /* as everywhere else */
		return PROCDUMP_HELP;
	for (int i = 0; i < PROCDUMP_IDS; i++)
		if (strcasecmp(word + 1, options[i].name + 1) == 0)
			return i;
	return -ENOENT;
}

/* The number that may follow -e and -r, which is the process where nothing follows it. */
static bool is_optional_value(enum procdump_id id, const char *word, bool last)
{
	if (last || strlen(word) != 1)
		return false;
	return id == PROCDUMP_E ? word[0] == '1'
				: id == PROCDUMP_R && word[0] >= '1' && word[0] <= '5';
}

/* The option at *I and its value; *I ends at the last word of it. */
static int take_option(
	enum procdump_id id, int argc, char **argv, int *i, struct procdump *out, char *why)
{
	const struct procdump_option *o = &options[id];

	if (!o->becomes)
		return refuse(why, "%s (%s): %s", o->name, o->meaning, o->refused);
	if (procdump_has(out, id))
		return refuse(why, "%s: given twice", o->name);
	out->given |= 1ULL << id;
	if (!o->value)
		return 0;
	if (o->value[0] == '[') {
		if (*i + 1 < argc && is_optional_value(id, argv[*i + 1], *i + 2 == argc))
			out->value[id] = argv[++*i];
		return 0;
	}
	if (*i + 1 >= argc)
		return refuse(why, "%s: needs %s", o->name, o->value);
	out->value[id] = argv[++*i];
	if (id == PROCDUMP_X) { /* all that follows is the command's */
		if (*i + 1 >= argc)
			return refuse(why, "%s: needs %s", o->name, o->value);
		out->path = out->value[id];
		out->command = argv + *i + 1;
		*i = argc;
	}
	return 0;
}

int procdump_parse(int argc, char **argv, struct procdump *out, char why[PROCDUMP_WHY_MAX])
{
	*out = (struct procdump){0};
	for (int i = 1; i < argc; i++) {
		int id = find(argv[i]);
		int r = 0;

		if (id >= 0)
			r = take_option((enum procdump_id)id, argc, argv, &i, out, why);
		else if (argv[i][0] == '-' || !argv[i][0])
			r = refuse_word(
				why, argv[i], "is not an option of procdump (-? lists them)");
		else if (!out->process && !out->command)
			out->process = argv[i];
		else if (!out->path)
			out->path = argv[i];
		else
			r = refuse_word(
				why, argv[i], "is one word too many: one process, one path");
		if (r < 0)
			return r;
		if (procdump_has(out, PROCDUMP_HELP))
			return 0;
	}
	if (out->command && out->process)
		return refuse_word(why, out->process, "beside -x: one process is enough");
	return 0;
}
