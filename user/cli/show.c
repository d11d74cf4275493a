/* SPDX-License-Identifier: MIT */
/* coretrap show: what a capture holds. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/captures.h"
#include "cli/commands.h"
#include "lib/json.h"
#include "lib/text.h"
#include "sink/trigger.h"

#define TEXT_MAX 4096 /* bytes of one text that are shown: all that an incident keeps */

struct show_options {
	struct captures_options captures;
	const char *id;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct show_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		for (int i = 0; i < 3; i++)
			state->child_inputs[i] = &o->captures;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			return ARGP_ERR_UNKNOWN;
		o->id = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "an ID is needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void put_label(const char *label)
{
	printf("%-12s", label);
}

/* "label   text", if there is one. */
static void put_text(const json_t *o, const char *key, const char *label)
{
	const char *s = json_get_text(o, key, NULL);

	if (!s)
		return;
	put_label(label);
	captures_print(stdout, s, TEXT_MAX);
	putchar('\n');
}

/* ", key 17", if there is one. */
static void add_int(const json_t *o, const char *key, const char *before)
{
	if (json_is_integer(json_object_get(o, key)))
		printf("%s%lld", before, (long long)json_get_int(o, key, 0));
}

static void add_text(const json_t *o, const char *key, const char *before)
{
	const char *s = json_get_text(o, key, NULL);

	if (s) {
		fputs(before, stdout);
		captures_print(stdout, s, TEXT_MAX);
	}
}

static void show_process(const json_t *p)
{
	const json_t *arg;
	size_t i;

	put_label("process");
	captures_print(stdout, json_get_text(p, "comm", "?"), TEXT_MAX);
	add_int(p, "pid", ", pid ");
	add_int(p, "namespace_pid", " (in its namespace ");
	if (json_object_get(p, "namespace_pid"))
		putchar(')');
	add_int(p, "tid", ", thread ");
	add_int(p, "ppid", ", parent ");
	add_int(p, "uid", ", uid ");
	putchar('\n');
	put_text(p, "executable", "executable");
	if (json_array_size(json_object_get(p, "command_line"))) {
		put_label("command");
		json_array_foreach (json_object_get(p, "command_line"), i, arg) {
			captures_print(stdout,
				json_string_value(arg) ? json_string_value(arg) : "?", TEXT_MAX);
			putchar(i + 1 < json_array_size(json_object_get(p, "command_line")) ? ' '
											    : '\n');
		}
	}
	put_text(p, "start_time", "started");
	put_text(p, "cgroup", "cgroup");
	put_text(p, "container_id", "container");
}

static void show_trigger(const json_t *trigger)
{
	const json_t *signal = json_object_get(trigger, "signal"),
		     *sender = json_object_get(signal, "sender");
	const json_t *mapped = json_object_get(signal, "mapped");

	put_label("trigger");
	if (!trigger_print(stdout, trigger))
		captures_print(stdout, json_get_text(trigger, "kind", "?"), TEXT_MAX);
	add_text(signal, "name", " ");
	add_int(signal, "number", " (");
	if (json_object_get(signal, "number"))
		putchar(')');
	add_text(signal, "code", ", ");
	add_text(signal, "access", ", ");
	add_text(signal, "address", json_object_get(signal, "access") ? " at " : ", address ");
	if (json_is_boolean(mapped))
		fputs(json_is_true(mapped) ? " (mapped, not allowed)" : " (not mapped)", stdout);
	if (json_is_true(json_object_get(signal, "stack_overflow")))
		fputs(", stack overflow", stdout);
	if (json_is_true(json_object_get(signal, "oom")))
		fputs(", chosen by the OOM killer", stdout);
	putchar('\n');
	if (!json_is_object(sender))
		return;
	put_label("sent by");
	captures_print(stdout, json_get_text(sender, "comm", "?"), TEXT_MAX);
	add_int(sender, "pid", ", pid ");
	add_int(sender, "uid", ", uid ");
	putchar('\n');
}

static double number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

/* Who used the processor, and where. */
static void show_burners(const json_t *cpu, const json_t *profile)
{
	const json_t *thread;
	size_t i;

	json_array_foreach (json_object_get(cpu, "threads"), i, thread) {
		put_label(i == 0 ? "burned by" : "");
		printf("%5.1f %%  ", number(thread, "share"));
		captures_print(stdout, json_get_text(thread, "comm", "?"), TEXT_MAX);
		add_int(thread, "tid", ", thread ");
		printf(", at %.1f %% of a core\n", number(thread, "cpu_percent"));
	}
	if (json_object_get(cpu, "other_share"))
		printf("%-12s%5.1f %%  other threads, or such as ended\n", "",
			number(cpu, "other_share"));
	put_text(cpu, "threads_reason", "burned by");
	put_text(profile, "hottest", "hottest");
	put_text(profile, "reason", "no stacks");
	if (!json_object_get(profile, "samples"))
		return;
	put_label("samples");
	printf("%lld", (long long)json_get_int(profile, "samples", 0));
	add_int(profile, "lost", ", lost: ");
	add_text(profile, "file", ", their stacks in ");
	putchar('\n');
}

static void show_frame(size_t number, const json_t *frame)
{
	printf("  #%-3zu ", number);
	captures_print(stdout, json_get_text(frame, "address", "?"), TEXT_MAX);
	putchar(' ');
	captures_print(stdout, json_get_text(frame, "symbol", "?"), TEXT_MAX);
	add_text(frame, "module", " in ");
	add_text(frame, "offset", "+");
	putchar('\n');
}

static void show_stack(const json_t *stack)
{
	for (size_t i = 0; i < json_array_size(stack); i++)
		show_frame(i, json_array_get(stack, i));
}

static void show_stacks(const json_t *incident)
{
	const json_t *threads = json_object_get(incident, "threads"), *thread;
	size_t i;

	/* Where all threads are there, the stack is the first one's again. */
	if (!json_array_size(threads) && json_array_size(json_object_get(incident, "stack"))) {
		puts("stack");
		show_stack(json_object_get(incident, "stack"));
	}
	json_array_foreach (threads, i, thread) {
		printf("thread %lld%s\n", (long long)json_get_int(thread, "tid", 0),
			json_is_true(json_object_get(thread, "truncated"))
				? " (more frames than shown)"
				: "");
		show_stack(json_object_get(thread, "stack"));
	}
}

static void show_capture(const json_t *c)
{
	const json_t *complete = json_object_get(c, "complete"), *note;
	char size[32];
	size_t i;

	put_label("capture");
	captures_print(stdout, json_get_text(c, "kind", "?"), TEXT_MAX);
	if (json_is_integer(json_object_get(c, "bytes")))
		printf(", %s", text_format_size(
				       (uint64_t)json_get_int(c, "bytes", 0), size, sizeof(size)));
	add_int(c, "threads", ", threads: ");
	add_text(c, "snapshot", ", snapshot: ");
	add_int(c, "pause_ms", ", paused ms: ");
	add_int(c, "duration_ms", ", took ms: ");
	if (json_is_boolean(complete))
		fputs(json_is_true(complete) ? ", complete" : ", incomplete", stdout);
	putchar('\n');
	json_array_foreach (json_object_get(c, "notes"), i, note) {
		put_label("note");
		captures_print(
			stdout, json_string_value(note) ? json_string_value(note) : "?", TEXT_MAX);
		putchar('\n');
	}
}

static void show(
	const struct show_options *o, const struct store *s, const char *id, const json_t *incident)
{
	const json_t *capture = json_object_get(incident, "capture");

	printf("%-12s%s\n", "id", id);
	put_text(incident, "time", "time");
	put_text(json_object_get(incident, "host"), "name", "host");
	put_text(incident, "rule", "rule");
	put_text(incident, "comment", "comment");
	put_text(incident, "signature", "signature");
	show_process(json_object_get(incident, "process"));
	show_trigger(json_object_get(incident, "trigger"));
	show_burners(captures_at(incident, "trigger", "cpu"), json_object_get(capture, "profile"));
	show_capture(capture);
	put_label("path");
	captures_print(stdout, s->path, TEXT_MAX);
	printf("/%s\n", id);
	put_label("open it");
	fputs("coretrap debug ", stdout);
	if (o->captures.store) {
		fputs("--store ", stdout);
		captures_print(stdout, s->path, TEXT_MAX);
		putchar(' ');
	}
	puts(id);
	show_stacks(incident);
}

int cmd_show(int argc, char **argv)
{
	static const struct argp_child children[] = {{&captures_argp, 0, NULL, 0},
		{&captures_output_argp, 0, NULL, 0}, {&captures_json_argp, 0, NULL, 0}, {}};
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "ID",
		.doc = "Says what a capture holds. ID is a name, the unique beginning of one, or "
		       "'latest'.",
		.children = children,
	};
	struct show_options o = {.captures.command = "show"};
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_json_ json_t *incident = NULL;
	char id[STORE_ID_MAX];

	argv[0] = (char *)"coretrap show";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (captures_open(&o.captures, &s) < 0 || captures_find(&o.captures, &s, o.id, id) < 0 ||
		captures_load(&o.captures, &s, id, &incident) < 0)
		return EXIT_FAILED;
	if (!o.captures.json)
		show(&o, &s, id, incident);
	else if (json_dumpf(incident, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_DIGITS) <
			 0 ||
		 putchar('\n') < 0)
		return EXIT_FAILED;
	if (fflush(stdout) != 0) {
		perror("coretrap show");
		return EXIT_FAILED;
	}
	return 0;
}
