/* SPDX-License-Identifier: MIT */
/* The options of Sysinternals' ProcDump and of ProcDump for Linux, and the words of coretrap's own
 * that mean the same. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCDUMP_WHY_MAX 256

enum procdump_id { /* in the order of the table */
	PROCDUMP_MM,
	PROCDUMP_MA,
	PROCDUMP_MT,
	PROCDUMP_MP,
	PROCDUMP_MC,
	PROCDUMP_MD,
	PROCDUMP_D,
	PROCDUMP_MK,
	PROCDUMP_N,
	PROCDUMP_S,
	PROCDUMP_C,
	PROCDUMP_CL,
	PROCDUMP_U,
	PROCDUMP_M,
	PROCDUMP_ML,
	PROCDUMP_P,
	PROCDUMP_PL,
	PROCDUMP_H,
	PROCDUMP_E,
	PROCDUMP_G,
	PROCDUMP_B,
	PROCDUMP_LD,
	PROCDUMP_UD,
	PROCDUMP_CT,
	PROCDUMP_ET,
	PROCDUMP_L,
	PROCDUMP_T,
	PROCDUMP_F,
	PROCDUMP_FX,
	PROCDUMP_DC,
	PROCDUMP_O,
	PROCDUMP_R,
	PROCDUMP_A,
	PROCDUMP_AT,
	PROCDUMP_K,
	PROCDUMP_WER,
	PROCDUMP_64,
	PROCDUMP_W,
	PROCDUMP_X,
	PROCDUMP_I,
	PROCDUMP_CANCEL,
	PROCDUMP_V,
	PROCDUMP_Y,
	PROCDUMP_ACCEPTEULA,
	PROCDUMP_NOBANNER,
	PROCDUMP_HELP,
	PROCDUMP_TC,
	PROCDUMP_FC,
	PROCDUMP_SIG,
	PROCDUMP_PF,
	PROCDUMP_PGID,
	PROCDUMP_LOG,
	PROCDUMP_GCM,
	PROCDUMP_GCGEN,
	PROCDUMP_PC,
	PROCDUMP_PCL,
	PROCDUMP_RESTRACK,
	PROCDUMP_SR,
	PROCDUMP_USEGCORE,
	PROCDUMP_IDS,
};

_Static_assert(PROCDUMP_IDS <= 64, "struct procdump's given has a bit for each");

struct procdump_option {
	const char *name;    /* "-ma" */
	const char *value;   /* how its value is called, NULL: none */
	const char *meaning; /* in ProcDump's words, shortened */
	const char *becomes; /* coretrap's words for it; NULL: refused */
	const char *refused; /* because … */
};

/* Every option that either ProcDump has. */
const struct procdump_option *procdump_options(size_t *n);

struct procdump {
	uint64_t given; /* bit a procdump_id */
	const char *value[PROCDUMP_IDS];
	const char *process; /* name or id, NULL: none */
	const char *path;    /* file or folder, NULL: none */
	char **command;	     /* of -x; NULL: none */
};

/* What stands on the command line, of which ARGV[0] is skipped; borrows from it. Options are known
 * by '-' or '/', in any case and order. 0, or -EINVAL and WHY names the option. */
int procdump_parse(int argc, char **argv, struct procdump *out, char why[PROCDUMP_WHY_MAX]);

static inline bool procdump_has(const struct procdump *p, enum procdump_id id)
{
	return p->given & 1ULL << id;
}

/* Some threshold or end of the process is waited for; else it is dumped at once. */
bool procdump_waits(const struct procdump *p);

/* What the process and the path of the command line were found to be. */
struct procdump_target {
	const pid_t *pids;
	size_t n;
	const char *name; /* of a process to come, NULL: none */
	bool folder;	  /* the path is one */
};

struct procdump_words {
	char **v; /* "watch" or "dump" first, NULL at the end */
	size_t n;
};

/* The same command in coretrap's words. 0, -ENOMEM, or -EINVAL and WHY names the option. */
int procdump_translate(const struct procdump *p, const struct procdump_target *t,
	struct procdump_words *out, char why[PROCDUMP_WHY_MAX]);
void procdump_words_free(struct procdump_words *w);
