/* SPDX-License-Identifier: MIT */
#include "target/unwind_child.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/sandbox.h"
#include "lib/text.h"
#include "target/unwind_frames.h"
#include "target/unwind_modules.h"
#include "target/unwind_reply.h"
#include "target/unwind_session.h"

#define MEMORY_LIMIT (4ULL << 30) /* mapped files count too */

static int put_bounded(json_t *obj, const char *key, const char *text, size_t max)
{
	_cleanup_free_ char *valid = text_utf8(text, strlen(text), max);

	return valid ? json_put_text(obj, key, valid) : -ENOMEM;
}

/* Without the version that .symtab has behind some names ("abort@@GLIBC_2.2.5"). */
static int put_symbol(json_t *frame, const char *symbol)
{
	_cleanup_free_ char *name = strndup(symbol, strcspn(symbol + 1, "@") + 1);

	return name ? put_bounded(frame, "symbol", name, UNWIND_SYMBOL_MAX) : -ENOMEM;
}

static int put_build_id(json_t *frame, const struct unwind_place *p)
{
	char hex[2 * UNWIND_BUILD_ID_MAX + 1];

	if (p->build_id_size == 0 || p->build_id_size > UNWIND_BUILD_ID_MAX)
		return 0; /* a longer one is nobody's: SHA-1 has 20 bytes */
	for (size_t i = 0; i < p->build_id_size; i++)
		snprintf(hex + 2 * i, 3, "%02x", p->build_id[i]);
	return json_put_text(frame, "build_id", hex);
}

static json_t *frame_json(const struct unwind_frame *f, const struct unwind_place *p)
{
	_cleanup_json_ json_t *frame = json_object();
	int r = frame ? json_put_hex(frame, "address", f->address) : -ENOMEM;

	if (r == 0 && p->module)
		r = put_bounded(frame, "module", p->module, UNWIND_MODULE_MAX);
	if (r == 0)
		r = put_build_id(frame, p);
	/* The offset is of the address shown; the symbol was looked up a byte before, where that is
	 * a return address. */
	if (r == 0 && p->has_offset)
		r = json_put_hex(frame, "offset", p->offset + (f->address - f->lookup));
	if (r == 0 && p->symbol && p->symbol[0])
		r = put_symbol(frame, p->symbol);
	return r == 0 ? TAKE_PTR(frame) : NULL;
}

static int add_note(json_t *notes, const char *what, const char *why, const char *where)
{
	_cleanup_free_ char *text = NULL;

	if (json_array_size(notes) >= UNWIND_NOTES_MAX)
		return 0;
	if (json_array_size(notes) == UNWIND_NOTES_MAX - 1)
		return json_array_append_new(notes, json_string("more notes left out")) ? -ENOMEM
											: 0;
	if (asprintf(&text, "%s: %s%s%s", what, why, where ? ": " : "", where ? where : "") < 0)
		return -ENOMEM;
	{
		_cleanup_free_ char *valid = text_utf8(text, strlen(text), UNWIND_MODULE_MAX);

		return valid && json_array_append_new(notes, json_string(valid)) == 0 ? 0 : -ENOMEM;
	}
}

static int add_frames(
	struct unwind_session *s, const struct unwind_trace *t, json_t *stack, json_t *notes)
{
	const char *noted = NULL;

	for (size_t i = 0; i < t->count; i++) {
		const struct unwind_place *p = unwind_session_place(s, t->frames[i].lookup);
		json_t *frame = frame_json(&t->frames[i], p);

		if (!frame || json_array_append_new(stack, frame) < 0)
			return -ENOMEM;
		if (p->error && p->module && p->module != noted) {
			noted = p->module;
			if (add_note(notes, "file not opened", strerror(-p->error), p->module) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static json_t *thread_json(struct unwind_session *s, pid_t tid, const struct unwind_trace *t)
{
	_cleanup_json_ json_t *thread = json_object(), *stack = json_array(), *notes = json_array();
	int r;

	if (!thread || !stack || !notes)
		return NULL;
	r = add_frames(s, t, stack, notes);
	if (r == 0 && t->stopped)
		r = add_note(notes, "stack ends early", t->stopped, NULL);
	if (r == 0 && s->modules->left_out)
		r = add_note(notes, "files not opened", "too many", NULL);
	if (r == 0)
		r = json_put_int(thread, "tid", tid);
	if (r == 0)
		r = json_put(thread, "stack", TAKE_PTR(stack));
	if (r == 0)
		r = json_put_bool(thread, "truncated", t->truncated);
	if (r == 0 && json_array_size(notes))
		r = json_put(thread, "notes", TAKE_PTR(notes));
	return r == 0 ? TAKE_PTR(thread) : NULL;
}

static int send_line(int fd, const json_t *value)
{
	_cleanup_free_ char *line = json_dumps(value, JSON_COMPACT);
	size_t len;

	if (!line)
		return -ENOMEM;
	len = strlen(line);
	line[len] = '\n'; /* over the NUL: one write for the whole line */
	return io_write_all(fd, line, len + 1);
}

static int lock_in(const struct unwind_request *req, const struct unwind_modules *m, int replyfd)
{
	_cleanup_free_ int *keep = calloc(m->file_count + 1, sizeof(*keep));
	struct sandbox cage = {
		.keep = keep,
		.keep_count = m->file_count + 1,
		.replyfd = replyfd,
		.memory_max = MEMORY_LIMIT,
		.root = UNWIND_DEBUG_ROOT,
		.cpu_max = (unsigned int)(req->timeout_ns / NSEC_PER_SEC + 1),
	};

	if (!keep)
		return -ENOMEM;
	for (size_t i = 0; i < m->file_count; i++)
		keep[i] = m->files[i].fd;
	keep[m->file_count] = req->memfd;
	return sandbox_enter(&cage);
}

static int unwind_all(const struct unwind_request *req, int replyfd)
{
	struct unwind_trace trace = {.frames = calloc(req->max_frames, sizeof(*trace.frames))};
	struct unwind_modules modules = {0};
	struct unwind_session session;
	int r;

	if (!trace.frames)
		return -ENOMEM;
	json_object_seed(0); /* opens /dev/urandom, which it cannot later */
	r = unwind_modules_open(req->procfd, req->memfd, req->threads[0].tid, req->maps, &modules);
	if (r == 0)
		r = lock_in(req, &modules, replyfd);
	if (r == 0)
		r = unwind_session_open(req, &modules, &session);
	for (size_t i = 0; i < req->thread_count && r == 0; i++) {
		_cleanup_json_ json_t *thread = NULL;

		if (req->stacks)
			session.stack = req->stacks[i];
		unwind_frames_walk(&session, &req->threads[i], &trace);
		thread = thread_json(&session, req->threads[i].tid, &trace);
		r = thread ? send_line(replyfd, thread) : -ENOMEM;
	}
	return r;
}

noreturn void unwind_child_run(const struct unwind_request *req, int replyfd)
{
	/* Nothing is freed: the process ends here. */
	_exit(unwind_all(req, replyfd) == 0 ? 0 : 1);
}
