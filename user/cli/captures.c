/* SPDX-License-Identifier: MIT */
#include "cli/captures.h"

#include <errno.h>
#include <string.h>

#include "cli/usage.h"
#include "lib/cleanup.h"
#include "lib/text.h"

#define OPTION_JSON 0x100

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct captures_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		usage_one_line(state);
		return 0;
	case 's':
	case 'o':
		o->store = arg;
		return 0;
	case OPTION_JSON:
		o->json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option store_options[] = {
	{"store", 's', "DIR", 0, "the store (default: " STORE_DEFAULT_PATH ")", 0},
	{},
};
static const struct argp_option output_options[] = {
	{"output", 'o', "DIR", 0, "the same, as 'watch' calls it", 0},
	{},
};
static const struct argp_option json_options[] = {
	{"json", OPTION_JSON, NULL, 0, "for machines: JSON", 0},
	{},
};

const struct argp captures_argp = {.options = store_options, .parser = parse};
const struct argp captures_output_argp = {.options = output_options, .parser = parse};
const struct argp captures_json_argp = {.options = json_options, .parser = parse};

error_t captures_parse_only(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	for (int i = 0; i < 3; i++)
		state->child_inputs[i] = state->input;
	return 0;
}

void captures_print(FILE *out, const char *s, size_t max)
{
	_cleanup_free_ char *printable = text_printable(s, strlen(s), max);

	fputs(printable ? printable : "?", out);
}

const json_t *captures_at(const json_t *o, const char *a, const char *b)
{
	const json_t *inner = json_object_get(o, a);

	return b ? json_object_get(inner, b) : inner;
}

static int complain(const struct captures_options *o, const char *what, const char *name, int error)
{
	fprintf(stderr, "coretrap %s: %s '", o->command, what);
	captures_print(stderr, name, 4096);
	fprintf(stderr, "': %s\n", store_strerror(error));
	return error;
}

int captures_open(const struct captures_options *o, struct store *s)
{
	int r = store_open(o->store, false, s);

	return r < 0 ? complain(o, "store", o->store ? o->store : STORE_DEFAULT_PATH, r) : 0;
}

int captures_find(const struct captures_options *o, const struct store *s, const char *which,
	char id[STORE_ID_MAX])
{
	int r = store_find(s, which, id);

	if (r == -ENOENT) {
		fprintf(stderr, "coretrap %s: no capture '", o->command);
		captures_print(stderr, which, STORE_ID_MAX);
		fprintf(stderr, "' in %s\n", s->path);
		return r;
	}
	return r < 0 ? complain(o, "capture", which, r) : 0;
}

int captures_load(
	const struct captures_options *o, const struct store *s, const char *id, json_t **incident)
{
	int r = store_load(s, id, incident);

	return r < 0 ? complain(o, STORE_INCIDENT " of capture", id, r) : 0;
}

int captures_open_core(const struct store *s, const char *id, bool *compressed)
{
	int fd = store_open_file(s, id, "core.zst");

	*compressed = fd >= 0;
	return fd == -ENOENT ? store_open_file(s, id, "core") : fd;
}
