/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/procdump_options.h"
#include "lib/cleanup.h"
#include "lib/text.h"

#define SECONDS_DEFAULT "10"
#define SECONDS_MAX	(366 * 86400)
#define MEGABYTES_MAX	(1ULL << 36) /* as many bytes as an address can tell */
/* ProcDump never gives a dump up because the process would stand still too long, unless -at is
 * given. */
#define MAX_PAUSE "24h"

struct translation {
	const struct procdump *p;
	const struct procdump_target *t;
	struct procdump_words *words;
	char *why;
	bool without_memory; /* of the machine we run on */
};

static bool has(const struct translation *x, enum procdump_id id)
{
	return procdump_has(x->p, id);
}

static int refuse(const struct translation *x, enum procdump_id id, const char *what)
{
	size_t n;

	snprintf(x->why, PROCDUMP_WHY_MAX, "%s: %s", procdump_options(&n)[id].name, what);
	return -EINVAL;
}

__attribute__((format(printf, 2, 3))) static void add(
	struct translation *x, const char *format, ...)
{
	struct procdump_words *w = x->words;
	char **bigger = reallocarray(w->v, w->n + 2, sizeof(*bigger));
	va_list args;

	if (!bigger) {
		x->without_memory = true;
		return;
	}
	w->v = bigger;
	va_start(args, format);
	if (vasprintf(&w->v[w->n], format, args) < 0)
		x->without_memory = true;
	else
		w->n++;
	va_end(args);
	w->v[w->n] = NULL;
}

void procdump_words_free(struct procdump_words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
	*w = (struct procdump_words){0};
}

static bool has_threshold(const struct procdump *p)
{
	const uint64_t thresholds = 1ULL << PROCDUMP_C | 1ULL << PROCDUMP_CL | 1ULL << PROCDUMP_M |
				    1ULL << PROCDUMP_ML | 1ULL << PROCDUMP_TC | 1ULL << PROCDUMP_FC;

	return p->given & thresholds;
}

bool procdump_waits(const struct procdump *p)
{
	return has_threshold(p) || procdump_has(p, PROCDUMP_E) || procdump_has(p, PROCDUMP_T) ||
	       procdump_has(p, PROCDUMP_SIG);
}

static int number(const struct translation *x, enum procdump_id id, uint64_t most, uint64_t *out)
{
	_cleanup_free_ char *shown = NULL;
	const char *value = x->p->value[id];
	char what[160];

	if (text_parse_u64(value, out) == 0 && *out > 0 && *out <= most)
		return 0;
	shown = text_printable(value, strlen(value), 30);
	snprintf(what, sizeof(what), "'%.100s' is not a number from 1 to %" PRIu64,
		shown ? shown : "", most);
	return refuse(x, id, what);
}

/* FLAG with the option's number and UNIT behind it, where it is given. */
static int add_number(struct translation *x, enum procdump_id id, uint64_t most, const char *flag,
	const char *unit)
{
	uint64_t n;
	int r;

	if (!has(x, id))
		return 0;
	r = number(x, id, most, &n);
	if (r == 0) {
		add(x, "%s", flag);
		add(x, "%" PRIu64 "%s", n, unit);
	}
	return r;
}

static int add_who(struct translation *x)
{
	for (size_t i = 0; i < x->t->n; i++) {
		add(x, "--pid");
		add(x, "%d", (int)x->t->pids[i]);
	}
	if (has(x, PROCDUMP_PGID))
		add(x, "--tree");
	if (x->t->name) {
		add(x, "--name");
		add(x, "%s", x->t->name);
	}
	return 0;
}

static int add_when(struct translation *x)
{
	uint64_t most = has(x, PROCDUMP_U) ? 100 * 8192 : 100;
	bool cpu = has(x, PROCDUMP_C) || has(x, PROCDUMP_CL);
	int r = 0;

	if (has(x, PROCDUMP_E)) {
		add(x, "--signal");
		add(x, "fatal");
	}
	if (has(x, PROCDUMP_SIG)) {
		add(x, "--signal");
		add(x, "%s", x->p->value[PROCDUMP_SIG]);
	}
	if (has(x, PROCDUMP_E) || has(x, PROCDUMP_T)) {
		add(x, "--exit");
		add(x, "%s", has(x, PROCDUMP_T) ? "any" : "nonzero");
	}
	r = add_number(x, PROCDUMP_C, most, "--cpu", "");
	r = r ? r : add_number(x, PROCDUMP_CL, most, "--cpu-below", "");
	if (cpu) {
		add(x, "--cpu-base");
		add(x, "%s", has(x, PROCDUMP_U) ? "core" : "machine");
	}
	r = r ? r : add_number(x, PROCDUMP_M, MEGABYTES_MAX, "--memory", "M");
	r = r ? r : add_number(x, PROCDUMP_ML, MEGABYTES_MAX, "--memory-below", "M");
	r = r ? r : add_number(x, PROCDUMP_TC, UINT32_MAX, "--threads", "");
	r = r ? r : add_number(x, PROCDUMP_FC, UINT32_MAX, "--fds", "");
	return r ? r : add_number(x, PROCDUMP_PF, SECONDS_MAX * 1000ULL, "--interval", "ms");
}

/* A threshold must hold for the time of -s; without one that time lies between two dumps. */
static int add_how_often(struct translation *x)
{
	bool threshold = has_threshold(x->p);
	uint64_t count = 1, seconds;
	int r = 0;

	if (has(x, PROCDUMP_N))
		r = number(x, PROCDUMP_N, UINT32_MAX, &count);
	if (r == 0 && has(x, PROCDUMP_S))
		r = number(x, PROCDUMP_S, SECONDS_MAX, &seconds);
	if (r < 0)
		return r;
	if (has(x, PROCDUMP_S) && !threshold && count == 1)
		return refuse(x, PROCDUMP_S,
			"there is no threshold that could hold so long, and no second dump (-n)");
	if (has(x, PROCDUMP_N) && count > 1) {
		add(x, "--count");
		add(x, "%" PRIu64, count);
	}
	if (threshold || count > 1) {
		add(x, threshold ? "--for" : "--every");
		add(x, "%ss", has(x, PROCDUMP_S) ? x->p->value[PROCDUMP_S] : SECONDS_DEFAULT);
	}
	if (count > 1 && x->p->path && !x->t->folder)
		return refuse(x, PROCDUMP_N, "a file takes one dump; more need a folder");
	return 0;
}

static int add_kind(struct translation *x)
{
	static const struct {
		enum procdump_id id;
		const char *kind;
	} kinds[] = {{PROCDUMP_MM, "mini"}, {PROCDUMP_MA, "full"}, {PROCDUMP_MT, "stacks"},
		{PROCDUMP_MP, "heap"}};
	const char *kind = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!has(x, kinds[i].id))
			continue;
		if (kind)
			return refuse(x, kinds[i].id, "one kind of dump at a time");
		kind = kinds[i].kind;
	}
	add(x, "--kind");
	add(x, "%s", kind ? kind : "mini");
	return 0;
}

/* What concerns a process that runs, and stands still for its dump. */
static int add_pause(struct translation *x, bool living)
{
	if (has(x, PROCDUMP_A) && !has(x, PROCDUMP_R))
		return refuse(x, PROCDUMP_A, "needs -r");
	if (has(x, PROCDUMP_R) && has(x, PROCDUMP_MT))
		return refuse(x, PROCDUMP_R, "-mt takes no memory that could be cloned");
	if (has(x, PROCDUMP_AT) && !living)
		return refuse(
			x, PROCDUMP_AT, "a process that ends is let go after a minute anyway");
	if (has(x, PROCDUMP_R) && living) {
		add(x, "--snapshot");
		add(x, "fork");
	}
	if (has(x, PROCDUMP_AT))
		return add_number(x, PROCDUMP_AT, SECONDS_MAX, "--max-pause", "s");
	if (has_threshold(x->p)) {
		add(x, "--max-pause");
		add(x, MAX_PAUSE);
	}
	return 0;
}

/* Names that ProcDump fills in. Ours are the folder's business. */
static int check_path(const struct translation *x)
{
	static const char *const filled_in[] = {
		"PROCESSNAME", "EXCEPTIONCODE", "YYMMDD", "HHMMSS", "_PID", "PID_"};

	for (size_t i = 0; i < ARRAY_SIZE(filled_in); i++)
		if (strstr(x->p->path, filled_in[i])) {
			snprintf(x->why, PROCDUMP_WHY_MAX,
				"%s in the path is not filled in: give a folder, where each dump "
				"has a name of its own",
				filled_in[i]);
			return -EINVAL;
		}
	return 0;
}

static int add_what(struct translation *x, bool living)
{
	bool file = x->p->path && !x->t->folder;
	int r = add_kind(x);

	r = r ? r : add_pause(x, living);
	if (r == 0 && file && has(x, PROCDUMP_MT))
		r = refuse(x, PROCDUMP_MT,
			"takes no memory that would make a dump file: give a folder");
	if (r == 0 && x->p->path)
		r = check_path(x);
	if (r < 0)
		return r;
	if (x->p->path) {
		add(x, "--output");
		add(x, "%s", x->p->path);
	}
	if (file) { /* as debuggers open it */
		add(x, "--compress");
		add(x, "none");
	}
	if (file && has(x, PROCDUMP_O))
		add(x, "--force");
	if (has(x, PROCDUMP_DC)) {
		add(x, "--comment");
		add(x, "%s", x->p->value[PROCDUMP_DC]);
	}
	if (has(x, PROCDUMP_V) || has(x, PROCDUMP_LOG))
		add(x, "--verbose");
	return 0;
}

/* Options that need another, or have no meaning beside another. */
static int check(const struct translation *x)
{
	bool cpu = has(x, PROCDUMP_C) || has(x, PROCDUMP_CL);

	if (has(x, PROCDUMP_E) && x->p->value[PROCDUMP_E])
		return refuse(x, PROCDUMP_E,
			"1 (handled exceptions): exceptions of languages are not seen yet");
	if (has(x, PROCDUMP_U) && !cpu)
		return refuse(x, PROCDUMP_U, "nothing was installed; with -c or -cl: of one core");
	if (has(x, PROCDUMP_B) && !has(x, PROCDUMP_E))
		return refuse(x, PROCDUMP_B, "needs -e");
	if (has(x, PROCDUMP_PF) && !has_threshold(x->p))
		return refuse(x, PROCDUMP_PF, "there is no threshold to look at");
	if (has(x, PROCDUMP_LOG) && strcasecmp(x->p->value[PROCDUMP_LOG], "stdout") != 0)
		return refuse(x, PROCDUMP_LOG, "stdout is all there is");
	if (x->p->command && !procdump_waits(x->p))
		return refuse(x, PROCDUMP_X, "nothing is waited for (-e, -t, -c, -m …)");
	if (x->p->command && (has(x, PROCDUMP_W) || has(x, PROCDUMP_PGID)))
		return refuse(x, has(x, PROCDUMP_W) ? PROCDUMP_W : PROCDUMP_PGID,
			"-x starts the process itself");
	return 0;
}

static int translate(struct translation *x)
{
	bool watch = procdump_waits(x->p);
	int r = check(x);

	if (r < 0)
		return r;
	if (watch) {
		add(x, "watch");
		r = add_who(x);
		r = r ? r : add_when(x);
	} else {
		add(x, "dump");
		add(x, "%d", (int)x->t->pids[0]);
	}
	r = r ? r : add_how_often(x);
	r = r ? r : add_what(x, !watch || has_threshold(x->p));
	if (r < 0)
		return r;
	if (watch && has(x, PROCDUMP_K) && has_threshold(x->p)) {
		add(x, "--then");
		add(x, "kill");
	}
	if (x->p->command) {
		add(x, "--");
		for (char **word = x->p->command; *word; word++)
			add(x, "%s", *word);
	}
	return x->without_memory ? -ENOMEM : 0;
}

int procdump_translate(const struct procdump *p, const struct procdump_target *t,
	struct procdump_words *out, char why[PROCDUMP_WHY_MAX])
{
	struct procdump_words words = {0};
	struct translation x = {.p = p, .t = t, .words = &words, .why = why};
	int r = translate(&x);

	if (r < 0)
		procdump_words_free(&words);
	else
		*out = words;
	return r;
}
