/* SPDX-License-Identifier: MIT */
/* coretrap list: the captures, the newest first. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/captures.h"
#include "cli/commands.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/text.h"

#define CELL_MAX       200 /* bytes of a name or symbol that are shown */
#define FLEXIBLE_LEAST 12
#define GAP	       2

enum column {
	COLUMN_ID,
	COLUMN_TIME,
	COLUMN_PROCESS,
	COLUMN_PID,
	COLUMN_TRIGGER,
	COLUMN_TOP,
	COLUMN_KIND,
	COLUMN_SIZE,
	COLUMN_COMPLETE,
	COLUMN_MAX,
};

struct row {
	char *cell[COLUMN_MAX];
};

struct table {
	struct row *rows; /* the first is the heading */
	size_t n;
};

static void table_free(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		for (int c = 0; c < COLUMN_MAX; c++)
			free(t->rows[i].cell[c]);
	free(t->rows);
}

static char *printable(const char *s)
{
	return text_printable(s, strlen(s), CELL_MAX);
}

static char *number(const json_t *o, const char *key)
{
	char *s = NULL;

	if (!json_is_integer(json_object_get(o, key)))
		return strdup("-");
	return asprintf(&s, "%lld", (long long)json_get_int(o, key, 0)) < 0 ? NULL : s;
}

/* "crash_here", else "libc.so.6+0x1234", else the address. */
static char *top_frame(const json_t *incident)
{
	const json_t *frame = json_array_get(json_object_get(incident, "stack"), 0);
	const char *symbol = json_get_text(frame, "symbol", NULL),
		   *module = json_get_text(frame, "module", NULL);
	const char *offset = json_get_text(frame, "offset", "?"),
		   *slash = module ? strrchr(module, '/') : NULL;
	_cleanup_free_ char *place = NULL;

	if (symbol || !module)
		return printable(symbol ? symbol : json_get_text(frame, "address", "-"));
	if (asprintf(&place, "%s+%s", slash ? slash + 1 : module, offset) < 0)
		return NULL;
	return printable(place);
}

static char *size_text(uint64_t bytes)
{
	char buf[32];

	return strdup(text_format_size(bytes, buf, sizeof(buf)));
}

static void fill(struct row *row, const struct store_item *item, const json_t *incident)
{
	const json_t *process = captures_at(incident, "process", NULL),
		     *capture = captures_at(incident, "capture", NULL);
	const json_t *trigger = captures_at(incident, "trigger", NULL),
		     *complete = json_object_get(capture, "complete");
	const char *kind = json_get_text(trigger, "kind", "-"),
		   *time = json_get_text(incident, "time", "-");

	row->cell[COLUMN_ID] = strdup(item->id);
	/* To the second: the rest is in `show`. */
	row->cell[COLUMN_TIME] = text_printable(time, strnlen(time, 19), CELL_MAX);
	row->cell[COLUMN_PROCESS] = printable(json_get_text(process, "comm", "-"));
	row->cell[COLUMN_PID] = number(process, "pid");
	row->cell[COLUMN_TRIGGER] =
		printable(json_get_text(json_object_get(trigger, "signal"), "name", kind));
	row->cell[COLUMN_TOP] = top_frame(incident);
	row->cell[COLUMN_KIND] = printable(json_get_text(capture, "kind", "-"));
	row->cell[COLUMN_SIZE] = size_text(item->bytes);
	row->cell[COLUMN_COMPLETE] = strdup(!incident		     ? "damaged"
					    : !complete		     ? "-"
					    : json_is_true(complete) ? "yes"
								     : "no");
}

static int make_table(const struct store *s, const struct store_items *items, struct table *t)
{
	static const char *const headings[] = {"ID", "TIME (UTC)", "PROCESS", "PID", "TRIGGER",
		"TOP FRAME", "KIND", "SIZE", "COMPLETE"};

	t->rows = calloc(items->n + 1, sizeof(*t->rows));
	if (!t->rows)
		return -ENOMEM;
	t->n = items->n + 1;
	for (int c = 0; c < COLUMN_MAX; c++)
		t->rows[0].cell[c] = strdup(headings[c]);
	for (size_t i = 0; i < items->n; i++) {
		_cleanup_json_ json_t *incident = NULL;

		store_load(s, items->v[i].id,
			&incident); /* one that cannot be read is listed as damaged */
		fill(&t->rows[i + 1], &items->v[i], incident);
	}
	for (size_t i = 0; i < t->n; i++)
		for (int c = 0; c < COLUMN_MAX; c++)
			if (!t->rows[i].cell[c])
				return -ENOMEM;
	return 0;
}

/* Characters, taken as one column each. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static size_t total(const size_t width[COLUMN_MAX])
{
	size_t sum = 0;

	for (int c = 0; c < COLUMN_MAX; c++)
		sum += width[c] ? width[c] + GAP : 0;
	return sum ? sum - GAP : 0;
}

/* Makes the columns fit LIMIT: the top frame is cut first; then what the ID tells too is left out
 * (width 0). */
static void fit(const struct table *t, size_t limit, size_t width[COLUMN_MAX])
{
	static const enum column expendable[] = {COLUMN_TIME, COLUMN_PID, COLUMN_PROCESS,
		COLUMN_KIND, COLUMN_TRIGGER, COLUMN_COMPLETE, COLUMN_SIZE, COLUMN_TOP};
	size_t flexible;

	for (size_t i = 0; i < t->n; i++)
		for (int c = 0; c < COLUMN_MAX; c++)
			if (width_of(t->rows[i].cell[c]) > width[c])
				width[c] = width_of(t->rows[i].cell[c]);
	flexible = width[COLUMN_TOP];
	for (size_t i = 0; total(width) > limit; i++) {
		size_t over = total(width) - limit;

		width[COLUMN_TOP] =
			flexible > over + FLEXIBLE_LEAST ? flexible - over : FLEXIBLE_LEAST;
		if (total(width) <= limit || i == ARRAY_SIZE(expendable))
			return;
		width[COLUMN_TOP] = flexible;
		width[expendable[i]] = 0;
	}
}

static void print_cell(const char *s, size_t width, bool last)
{
	size_t n = width_of(s), shown = n > width ? width - 1 : n, i = 0;

	for (; s[i] && (shown || (s[i] & 0xc0) == 0x80); i++)
		shown -= (s[i] & 0xc0) != 0x80;
	fwrite(s, 1, i, stdout);
	if (n > width)
		fputs("…", stdout);
	else if (!last)
		printf("%*s", (int)(width - n), "");
	if (!last)
		printf("%*s", GAP, "");
}

static void print_table(const struct table *t, size_t limit)
{
	size_t width[COLUMN_MAX] = {};
	int last = 0;

	fit(t, limit, width);
	for (int c = 0; c < COLUMN_MAX; c++)
		last = width[c] ? c : last;
	for (size_t i = 0; i < t->n; i++) {
		for (int c = 0; c < COLUMN_MAX; c++)
			if (width[c])
				print_cell(t->rows[i].cell[c], width[c], c == last);
		putchar('\n');
	}
}

/* Into a pipe: all of it, a tab between the columns. */
static void print_plain(const struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		for (int c = 0; c < COLUMN_MAX; c++)
			printf("%s%c", t->rows[i].cell[c], c + 1 < COLUMN_MAX ? '\t' : '\n');
}

static int print_json(const struct store *s, const struct store_items *items)
{
	for (size_t i = 0; i < items->n; i++) {
		_cleanup_json_ json_t *incident = NULL;
		int r = store_load(s, items->v[i].id, &incident);

		if (r < 0) {
			incident = json_object();
			if (!incident || json_put(incident, "capture", json_object()) ||
				json_put_text(json_object_get(incident, "capture"), "id",
					items->v[i].id) ||
				json_put_text(incident, "error", store_strerror(r)))
				return -ENOMEM;
		}
		if (json_dumpf(incident, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_DIGITS) <
				0 ||
			putchar('\n') < 0)
			return -EIO;
	}
	return 0;
}

static int print_list(const struct store *s, const struct store_items *items, bool json)
{
	_cleanup_(table_free) struct table t = {};
	struct winsize size = {};
	int r;

	if (json)
		return print_json(s, items);
	r = make_table(s, items, &t);
	if (r < 0)
		return r;
	if (!isatty(STDOUT_FILENO))
		print_plain(&t);
	else if (items->n == 0)
		printf("no captures in %s\n", s->path);
	else
		print_table(&t, ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col
					? size.ws_col
					: 80);
	return 0;
}

/* All captures, or one line that says what is wrong. A default store that nobody has needed yet is
 * an empty one. */
static int read_store(const struct captures_options *o, struct store *s, struct store_items *items)
{
	int r;

	if (!o->store && access(STORE_DEFAULT_PATH, F_OK) < 0 && errno == ENOENT) {
		s->path = strdup(STORE_DEFAULT_PATH);
		return s->path ? 0 : -ENOMEM;
	}
	r = captures_open(o, s);
	if (r < 0)
		return r;
	r = store_list(s, items);
	if (r < 0)
		fprintf(stderr, "coretrap list: %s: %s\n", s->path, store_strerror(r));
	return r;
}

int cmd_list(int argc, char **argv)
{
	static const struct argp_child children[] = {{&captures_argp, 0, NULL, 0},
		{&captures_output_argp, 0, NULL, 0}, {&captures_json_argp, 0, NULL, 0}, {}};
	static const struct argp argp = {.parser = captures_parse_only,
		.doc = "Lists the captures, the newest first.",
		.children = children};
	struct captures_options o = {.command = "list"};
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_items_ struct store_items items = {};
	int r;

	argv[0] = (char *)"coretrap list";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	r = read_store(&o, &s, &items);
	if (r < 0)
		return EXIT_FAILED;
	r = print_list(&s, &items, o.json);
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	if (r < 0)
		fprintf(stderr, "coretrap list: %s\n", store_strerror(r));
	return r < 0 ? EXIT_FAILED : 0;
}
