/* SPDX-License-Identifier: MIT */
#include "rules/action.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/signals.h"
#include "lib/text.h"

#define UNIT_NAME_MAX 255 /* systemd's */
#define TEXT_SHOWN    80  /* bytes of the user's text in a message */

__attribute__((format(printf, 3, 4))) static int refuse(
	char why[ACTION_WHY_MAX], const char *text, const char *format, ...)
{
	_cleanup_free_ char *shown = text_printable(text, strlen(text), TEXT_SHOWN);
	char what[ACTION_WHY_MAX / 2];
	va_list args;

	if (!shown)
		return -ENOMEM;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(why, ACTION_WHY_MAX, "'%.*s' %s", TEXT_SHOWN + 8, shown, what);
	return -EINVAL;
}

/* ---- one parser a kind: ARGUMENT is what stands behind the colon ---- */

static int parse_term(const char *argument, struct action *out, char why[ACTION_WHY_MAX])
{
	if (text_parse_duration(argument, &out->time_ns) < 0)
		return refuse(why, argument, "is not a time (term:10s, term:500ms)");
	return out->time_ns ? 0 : refuse(why, argument, "is no time: use kill");
}

static int parse_signal(const char *argument, struct action *out, char why[ACTION_WHY_MAX])
{
	out->signal = signals_parse(argument);
	return out->signal < 0 ? refuse(why, argument, "is not a signal (TERM, SIGUSR1, 10)") : 0;
}

/* systemd.unit(5), "String escaping for inclusion in unit names". No globs, which systemctl would
 * expand, and no option. */
static bool is_unit_name(const char *s)
{
	if (*s == '-' || *s == '.' || *s == '@' || strlen(s) > UNIT_NAME_MAX)
		return false;
	for (; *s; s++)
		if (!isascii((unsigned char)*s) ||
			(!isalnum((unsigned char)*s) && !strchr(":-_.\\@", *s)))
			return false;
	return true;
}

static int parse_restart(const char *argument, struct action *out, char why[ACTION_WHY_MAX])
{
	/* Those that systemd starts and stops: not scopes and devices. */
	static const char *const types[] = {"service", "socket", "timer", "target", "path", "mount",
		"automount", "swap", "slice"};
	const char *type = strrchr(argument, '.');

	if (!is_unit_name(argument) || !*argument)
		return refuse(why, argument, "is not the name of a systemd unit");
	for (size_t i = 0; type && i < ARRAY_SIZE(types); i++)
		if (strcmp(type + 1, types[i]) == 0) {
			out->unit = strdup(argument);
			return out->unit ? 0 : -ENOMEM;
		}
	if (type && (strcmp(type, ".scope") == 0 || strcmp(type, ".device") == 0))
		return refuse(why, argument, "cannot be restarted by systemd");
	/* As systemctl has it: what has no type is a service. */
	if (strlen(argument) + strlen(".service") > UNIT_NAME_MAX)
		return refuse(why, argument, "is longer than a unit's name may be");
	return asprintf(&out->unit, "%s.service", argument) < 0 ? -ENOMEM : 0;
}

/* One word at *AT into WORD (which has room for all of it); false: a quote does not end. */
static bool take_word(const char **at, char *word)
{
	const char *s = *at;
	char quote = 0;

	for (; *s && (quote || !isspace((unsigned char)*s)); s++) {
		if (quote ? *s == quote : *s == '\'' || *s == '"') {
			quote = quote ? '\0' : *s;
			continue;
		}
		if (*s == '\\' && (!quote || (quote == '"' && (s[1] == '"' || s[1] == '\\')))) {
			s++;
			if (!*s)
				return false;
		}
		*word++ = *s;
	}
	*word = '\0';
	*at = s;
	return !quote;
}

static void free_words(char **words)
{
	for (char **w = words; w && *w; w++)
		free(*w);
	free(words);
}

static int split(const char *text, char ***out)
{
	/* A word takes a letter and a blank at least. */
	size_t n = 0, room = strlen(text) / 2 + 2;
	char **words = calloc(room, sizeof(*words));
	int r = words ? 0 : -ENOMEM;

	while (r == 0) {
		while (isspace((unsigned char)*text))
			text++;
		if (!*text)
			break;
		words[n] = malloc(strlen(text) + 1);
		if (!words[n])
			r = -ENOMEM;
		else if (!take_word(&text, words[n++]))
			r = -EINVAL;
	}
	if (r == 0)
		*out = words;
	else
		free_words(words);
	return r;
}

static int parse_exec(const char *argument, struct action *out, char why[ACTION_WHY_MAX])
{
	int r = split(argument, &out->argv);

	if (r == -EINVAL)
		return refuse(why, argument, "has a quote or a backslash without its end");
	if (r < 0)
		return r;
	if (!out->argv[0])
		return refuse(why, argument, "is no command (exec:/usr/local/bin/notify ops)");
	/* It runs in the root directory, and as root: neither a search path nor a place of its own
	 * is to choose the program. */
	if (out->argv[0][0] != '/')
		return refuse(why, out->argv[0], "is not an absolute path");
	return 0;
}

static const struct {
	const char *name, *needs; /* NULL: nothing behind a colon */
	int (*parse)(const char *argument, struct action *out, char why[ACTION_WHY_MAX]);
} kinds[] = {
	[ACTION_KILL] = {"kill", NULL, NULL},
	[ACTION_TERM] = {"term", "a time (term:10s)", parse_term},
	[ACTION_SIGNAL] = {"signal", "a signal (signal:USR1)", parse_signal},
	[ACTION_RESTART] = {"restart", "a systemd unit (restart:nginx.service)", parse_restart},
	[ACTION_EXEC] = {"exec", "a command (exec:/usr/local/bin/notify ops)", parse_exec},
};

const char *action_kind_name(enum action_kind kind)
{
	return kinds[kind].name;
}

static int parse_kind(const char *text, size_t name_len, struct action *a, char why[ACTION_WHY_MAX])
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *argument = text[name_len] ? text + name_len + 1 : "";

		if (strlen(kinds[i].name) != name_len || memcmp(kinds[i].name, text, name_len) != 0)
			continue;
		if (kinds[i].needs && !*argument)
			return refuse(why, text, "needs %s", kinds[i].needs);
		if (!kinds[i].needs && text[name_len])
			return refuse(why, text, "is too much: %s takes nothing", kinds[i].name);
		a->kind = (enum action_kind)i;
		return kinds[i].parse ? kinds[i].parse(argument, a, why) : 0;
	}
	return refuse(why, text,
		"is not an action (kill, term:TIME, signal:NAME, restart:UNIT, exec:CMD)");
}

int action_parse(const char *text, struct action *out, char why[ACTION_WHY_MAX])
{
	struct action a = {.text = strdup(text)};
	int r = a.text ? parse_kind(text, strcspn(text, ":"), &a, why) : -ENOMEM;

	if (r < 0)
		action_free(&a);
	else
		*out = a;
	return r;
}

void action_free(struct action *a)
{
	free(a->unit);
	free_words(a->argv);
	free(a->text);
	*a = (struct action){};
}

int actions_add(struct actions *list, const char *text, char why[ACTION_WHY_MAX])
{
	struct action *v = reallocarray(list->v, list->n + 1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	list->v = v;
	r = action_parse(text, &v[list->n], why);
	if (r == 0)
		list->n++;
	return r;
}

void actions_free(struct actions *list)
{
	for (size_t i = 0; i < list->n; i++)
		action_free(&list->v[i]);
	free(list->v);
	*list = (struct actions){};
}
