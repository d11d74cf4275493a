/* SPDX-License-Identifier: MIT */
#include "sink/feed.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "sink/trigger.h"

#define TEXT_SHOWN 200 /* bytes of a name or path on a terminal */

/* Text that a process chose, for a terminal. */
static void print_hostile(FILE *out, const char *s)
{
	_cleanup_free_ char *printable = text_printable(s, strlen(s), TEXT_SHOWN);

	fputs(printable ? printable : "?", out);
}

static const json_t *at(const json_t *o, const char *a, const char *b)
{
	const json_t *inner = json_object_get(o, a);

	return b ? json_object_get(inner, b) : inner;
}

static void print_clock(FILE *out, const json_t *event)
{
	const char *time = json_get_text(event, "time", "");

	if (strlen(time) >= 19)
		fprintf(out, "%.8s ", time + 11);
}

static void print_process(FILE *out, const json_t *event)
{
	const json_t *process = at(event, "process", NULL);

	print_hostile(out, json_get_text(process, "comm", "?"));
	fprintf(out, "[%lld]", (long long)json_get_int(process, "pid", 0));
}

static void print_frame(FILE *out, const json_t *frame)
{
	const char *symbol = json_get_text(frame, "symbol", NULL),
		   *module = json_get_text(frame, "module", NULL);

	print_hostile(out, symbol ? symbol : json_get_text(frame, "address", "?"));
	if (module) {
		fputs(" (", out);
		print_hostile(out, module);
		fputc(')', out);
	}
}

static void print_exit(FILE *out, const json_t *exit)
{
	if (json_object_get(exit, "signal"))
		fprintf(out, ", %s", json_get_text(exit, "signal", "?"));
	else if (exit)
		fprintf(out, ", status %lld", (long long)json_get_int(exit, "code", 0));
}

static void print_burner(FILE *out, const json_t *thread)
{
	if (!thread)
		return;
	fprintf(out, ", %.0f %% of it by thread %lld ",
		json_number_value(json_object_get(thread, "share")),
		(long long)json_get_int(thread, "tid", 0));
	print_hostile(out, json_get_text(thread, "comm", "?"));
}

static void print_trip(FILE *out, const json_t *event)
{
	const json_t *signal = at(event, "trigger", "signal"),
		     *sender = json_object_get(signal, "sender");
	const json_t *top = json_array_get(at(event, "stack", NULL), 0);
	const json_t *trigger = at(event, "trigger", NULL);
	const char *text;

	print_process(out, event);
	fputs(": ", out);
	if (!trigger_print(out, trigger))
		fputs(json_get_text(signal, "name", json_get_text(trigger, "kind", "?")), out);
	print_burner(out, json_array_get(json_object_get(at(trigger, "cpu", NULL), "threads"), 0));
	text = json_get_text(signal, "code", NULL);
	if (text)
		fprintf(out, " %s", text);
	text = json_get_text(signal, "access", NULL);
	if (text)
		fprintf(out, ", %s", text);
	text = json_get_text(signal, "address", NULL);
	if (text)
		fprintf(out, "%s %s", json_object_get(signal, "access") ? "" : ", address", text);
	print_exit(out, at(event, "trigger", "exit"));
	if (sender) {
		fputs(", sent by ", out);
		print_hostile(out, json_get_text(sender, "comm", "?"));
		fprintf(out, "[%lld]", (long long)json_get_int(sender, "pid", 0));
	}
	if (top) {
		fputs(", in ", out);
		print_frame(out, top);
	}
	fputc('\n', out);
}

static void print_notes(FILE *out, const json_t *notes)
{
	const json_t *note;
	size_t i;

	json_array_foreach (notes, i, note) {
		fputs("  note: ", out);
		print_hostile(out, json_string_value(note) ? json_string_value(note) : "?");
		fputc('\n', out);
	}
}

static void print_capture(const struct feed *f, const json_t *event)
{
	const json_t *capture = at(event, "capture", NULL), *stack = at(event, "stack", NULL);
	const char *id = json_get_text(capture, "id", NULL);
	bool has_core = strcmp(json_get_text(capture, "kind", ""), "stacks") != 0;
	char size[32];

	print_process(f->out, event);
	fprintf(f->out, ": captured %s, %s in %lld ms", json_get_text(capture, "kind", "?"),
		text_format_size((uint64_t)json_get_int(capture, "bytes", 0), size, sizeof(size)),
		(long long)json_get_int(capture, "duration_ms", 0));
	if (strcmp(json_get_text(capture, "snapshot", ""), "kernel") != 0)
		fprintf(f->out, ", stood still %lld ms",
			(long long)json_get_int(capture, "pause_ms", 0));
	if (json_array_size(stack)) {
		fputs(", in ", f->out);
		print_frame(f->out, json_array_get(stack, 0));
	}
	fputs(json_is_false(json_object_get(capture, "complete")) ? ", incomplete: " : ": ",
		f->out);
	print_hostile(f->out, json_get_text(capture, "path", "?"));
	fputc('\n', f->out);
	print_notes(f->out, json_object_get(capture, "notes"));
	if (id)
		fprintf(f->out, "  open it with: coretrap %s%s%s %s\n", has_core ? "debug" : "show",
			f->store ? " --store " : "", f->store ? f->store : "", id);
}

static void print_armed(FILE *out, const json_t *event)
{
	const json_t *targets = at(event, "targets", NULL), *output = at(event, "output", NULL);
	int64_t count = json_get_int(event, "target_count", 0),
		estimate = json_get_int(event, "estimated_bytes", 0);
	char size[32];

	fprintf(out, "watching %lld process%s", (long long)count, count == 1 ? "" : "es");
	if (count == 1) {
		fputs(" (", out);
		print_hostile(out, json_get_text(json_array_get(targets, 0), "comm", "?"));
		fprintf(out, "[%lld])",
			(long long)json_get_int(json_array_get(targets, 0), "pid", 0));
	}
	fprintf(out, ", kind %s", json_get_text(event, "kind", "?"));
	if (estimate)
		fprintf(out, ", up to %s before compression",
			text_format_size((uint64_t)estimate, size, sizeof(size)));
	if (json_object_get(output, "free_bytes"))
		fprintf(out, ", %s free in %s",
			text_format_size((uint64_t)json_get_int(output, "free_bytes", 0), size,
				sizeof(size)),
			json_get_text(output, "path", "?"));
	fputc('\n', out);
	print_notes(out, json_object_get(event, "notes"));
}

static void print_action(FILE *out, const json_t *event)
{
	const json_t *action = at(event, "action", NULL);

	print_process(out, event);
	fputs(": ", out);
	print_hostile(out, json_get_text(action, "text", "?"));
	fprintf(out, ": %s", json_get_text(action, "result", "?"));
	if (json_object_get(action, "detail")) {
		fputs(": ", out);
		print_hostile(out, json_get_text(action, "detail", ""));
	}
	fputc('\n', out);
}

static void print_other(FILE *out, const char *kind, const json_t *event)
{
	const json_t *exit = at(event, "exit", NULL);

	if (at(event, "process", NULL))
		print_process(out, event);
	else
		fputs("coretrap", out);
	fprintf(out, ": %s", kind);
	if (json_object_get(event, "reason")) {
		fputs(", ", out);
		print_hostile(out, json_get_text(event, "reason", ""));
	}
	if (json_object_get(event, "detail")) {
		fputs(": ", out);
		print_hostile(out, json_get_text(event, "detail", ""));
	}
	if (json_object_get(event, "retry_in_ms"))
		fprintf(out, ", tried again in %.1f s",
			(double)json_get_int(event, "retry_in_ms", 0) / 1000);
	if (json_object_get(event, "count"))
		fprintf(out, ", %lld lost", (long long)json_get_int(event, "count", 0));
	print_exit(out, exit);
	fputc('\n', out);
}

/* ASCII alone: the characters that steer a terminal are not all below a blank. */
static int write_json(FILE *out, const json_t *event)
{
	if (json_dumpf(event, out,
		    JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII | JSON_DIGITS) < 0)
		return errno ? -errno : -ENOMEM;
	fputc('\n', out);
	return 0;
}

static int write_event(const struct feed *f, const json_t *event)
{
	const char *kind = json_get_text(event, "event", "?");

	if (f->json)
		return write_json(f->out, event);
	if (strcmp(kind, "capture") == 0) {
		print_clock(f->out, event);
		print_capture(f, event);
	} else if (!f->quiet || strcmp(kind, "skip") == 0 || strcmp(kind, "loss") == 0) {
		print_clock(f->out, event);
		if (strcmp(kind, "trip") == 0)
			print_trip(f->out, event);
		else if (strcmp(kind, "armed") == 0)
			print_armed(f->out, event);
		else if (strcmp(kind, "action") == 0)
			print_action(f->out, event);
		else
			print_other(f->out, kind, event);
	}
	return 0;
}

int feed_write(const struct feed *f, const json_t *event)
{
	_cleanup_free_ char *text = NULL;
	struct feed into = *f;
	size_t size = 0;
	int r;

	errno = 0;
	if (!f->relay) {
		r = write_event(f, event);
		return r == 0 && fflush(f->out) != 0 ? -errno : r;
	}
	into.out = open_memstream(&text, &size);
	if (!into.out)
		return -errno;
	r = write_event(&into, event);
	if (fclose(into.out) != 0)
		return -ENOMEM;
	return r == 0 && size ? relay_send(f->relay, text, size) : r;
}

void feed_say(const struct feed *f, json_t *event)
{
	int r = event ? feed_write(f, event) : -ENOMEM;

	if (r < 0)
		log_error("event=feed errno=%d", -r);
	json_decref(event);
}
