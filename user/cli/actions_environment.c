/* SPDX-License-Identifier: MIT */
#include "cli/actions_environment.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/text.h"

#define VALUE_MAX 4096

static const struct {
	const char *name;
	const char *path[3];
	bool verbatim; /* our own words: to be opened, not shown */
} variables[] = {
	{"CORETRAP_EVENT", {"event"}, false},
	{"CORETRAP_ID", {"id"}, false},
	{"CORETRAP_HOST", {"host", "name"}, false},
	{"CORETRAP_RULE", {"rule"}, false},
	{"CORETRAP_TRIGGER", {"trigger", "kind"}, false},
	{"CORETRAP_SIGNAL", {"trigger", "signal", "name"}, false},
	{"CORETRAP_PID", {"process", "pid"}, false},
	{"CORETRAP_COMM", {"process", "comm"}, false},
	{"CORETRAP_EXECUTABLE", {"process", "executable"}, false},
	{"CORETRAP_CONTAINER_ID", {"process", "container_id"}, false},
	{"CORETRAP_CAPTURE", {"capture", "id"}, false},
	{"CORETRAP_KIND", {"capture", "kind"}, false},
	{"CORETRAP_PATH", {"capture", "path"}, true},
};

/* What speaks to this very process (sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3)), and
 * what could be taken for the incident's. */
static bool is_ours(const char *entry)
{
	static const char *const prefixes[] = {
		"CORETRAP_", "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_"};

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static int format(const json_t *value, size_t i, char **out)
{
	_cleanup_free_ char *text = NULL;
	int n;

	if (json_is_integer(value)) {
		n = asprintf(
			out, "%s=%lld", variables[i].name, (long long)json_integer_value(value));
		return n < 0 ? -ENOMEM : 0;
	}
	text = variables[i].verbatim ? strdup(json_string_value(value))
				     : text_printable(json_string_value(value),
					       json_string_length(value), VALUE_MAX);
	n = text ? asprintf(out, "%s=%s", variables[i].name, text) : -1;
	return n < 0 ? -ENOMEM : 0;
}

static int put(const json_t *incident, size_t i, char **out)
{
	const json_t *value = incident;

	for (size_t k = 0; k < ARRAY_SIZE(variables[i].path) && variables[i].path[k]; k++)
		value = json_object_get(value, variables[i].path[k]);
	if (!json_is_integer(value) && !json_is_string(value))
		return 0;
	return format(value, i, out);
}

static void free_list(char **list)
{
	for (char **at = list; *at; at++)
		free(*at);
	free(list);
}

char **actions_environment(const json_t *incident, enum actions_when when)
{
	size_t inherited = 0, n = 0;
	char **list;
	int r = 0;

	while (environ && environ[inherited])
		inherited++;
	list = calloc(inherited + ARRAY_SIZE(variables) + 2, sizeof(*list));
	if (!list)
		return NULL;
	for (size_t i = 0; r == 0 && i < inherited; i++) {
		if (is_ours(environ[i]))
			continue;
		list[n] = strdup(environ[i]);
		r = list[n++] ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(variables); i++) {
		r = put(incident, i, &list[n]);
		n += list[n] != NULL;
	}
	if (r == 0) {
		list[n] = strdup(
			when == ACTIONS_BEFORE ? "CORETRAP_WHEN=before" : "CORETRAP_WHEN=after");
		r = list[n] ? 0 : -ENOMEM;
	}
	if (r == 0)
		return list;
	free_list(list);
	return NULL;
}
