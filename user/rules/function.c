/* SPDX-License-Identifier: MIT */
#include "rules/function.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

#define INTERVAL_MIN_NS (10 * NSEC_PER_MSEC)
#define INTERVAL_MAX_NS (250 * NSEC_PER_MSEC)
#define ARGUMENT_MAX	9
#define STATIC_PREFIX	"usdt:"

void function_wish_free(struct function_wish *w)
{
	free(w->text);
	free(w->file);
	free(w->provider);
	free(w->name);
	free(w->end);
	*w = (struct function_wish){};
}

void function_rule_free(struct function_rule *r)
{
	for (size_t i = 0; i < r->n; i++)
		function_wish_free(&r->v[i]);
	r->n = 0;
}

/* "@1" behind the second name. */
static int cut_argument(char *end, unsigned int *argument)
{
	char *at = strchr(end, '@');

	if (!at)
		return 0;
	if (at[1] < '1' || at[1] > '0' + ARGUMENT_MAX || at[2])
		return -EINVAL;
	*argument = (unsigned int)(at[1] - '0');
	*at = '\0';
	return 0;
}

/* Names of C, of C++ as the linker has them, and of Go ("main.(*T).Do"): no blanks in any. */
static bool is_name(const char *s)
{
	return s && *s && !s[strcspn(s, " \t\n")];
}

static int parse_probes(char *rest, struct function_wish *w)
{
	char *file = strsep(&rest, ":"), *provider = strsep(&rest, ":"),
	     *begin = strsep(&rest, ",");

	if (!rest || strpbrk(rest, ":,") || cut_argument(rest, &w->argument) < 0 ||
		!is_name(provider) || !is_name(begin) || !is_name(rest))
		return -EINVAL;
	w->file = strdup(file);
	w->provider = strdup(provider);
	w->name = strdup(begin);
	w->end = strdup(rest);
	return w->file && w->provider && w->name && w->end ? 0 : -ENOMEM;
}

static int parse_function(char *rest, struct function_wish *w)
{
	char *file = strsep(&rest, ":");

	if (!is_name(rest))
		return -EINVAL;
	w->file = strdup(file);
	w->name = strdup(rest);
	return w->file && w->name ? 0 : -ENOMEM;
}

int function_parse(const char *text, size_t length, struct function_wish *out)
{
	_cleanup_free_ char *copy = strndup(text, length);
	_cleanup_(function_wish_free) struct function_wish w = {.text = strndup(text, length)};
	size_t prefix = strlen(STATIC_PREFIX);
	int r;

	if (!copy || !w.text)
		return -ENOMEM;
	r = strncmp(copy, STATIC_PREFIX, prefix) == 0 ? parse_probes(copy + prefix, &w)
						      : parse_function(copy, &w);
	if (r < 0)
		return r;
	*out = w;
	w = (struct function_wish){};
	return 0;
}

bool function_means(const struct function_wish *w, const char *path, const char *executable)
{
	const char *file = strncmp(w->file, "./", 2) == 0 ? w->file + 2 : w->file;
	size_t length = strlen(file), path_length = strlen(path);

	if (!*file)
		return strcmp(path, executable) == 0;
	if (*file == '/' || length >= path_length)
		return strcmp(path, file) == 0;
	return path[path_length - length - 1] == '/' &&
	       strcmp(path + path_length - length, file) == 0;
}

bool function_is_due(uint64_t limit_ns, uint64_t entered_ns, uint64_t last_ns, uint64_t now_ns)
{
	return entered_ns <= now_ns && now_ns - entered_ns >= limit_ns &&
	       (last_ns <= entered_ns || last_ns - entered_ns < limit_ns);
}

uint64_t function_interval_ns(uint64_t limit_ns)
{
	uint64_t tenth = limit_ns / 10;

	return tenth < INTERVAL_MIN_NS	 ? INTERVAL_MIN_NS
	       : tenth > INTERVAL_MAX_NS ? INTERVAL_MAX_NS
					 : tenth;
}
