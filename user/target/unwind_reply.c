/* SPDX-License-Identifier: MIT */
#include "target/unwind_reply.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"

/* text_utf8() makes at most four bytes of one, and three for the mark of a cut. */
#define ESCAPED(n) (4 * (n) + 3)

static bool is_hex(const char *s, size_t len)
{
	return len > 0 && strspn(s, "0123456789abcdef") == len;
}

static bool is_address(const char *s, size_t len)
{
	return len > 2 && len <= 18 && s[0] == '0' && s[1] == 'x' && is_hex(s + 2, len - 2);
}

static bool is_build_id(const char *s, size_t len)
{
	return len % 2 == 0 && len <= 2 * UNWIND_BUILD_ID_MAX && is_hex(s, len);
}

static bool is_module(const char *s, size_t len)
{
	(void)s;
	return len <= ESCAPED(UNWIND_MODULE_MAX);
}

static bool is_symbol(const char *s, size_t len)
{
	(void)s;
	return len <= ESCAPED(UNWIND_SYMBOL_MAX);
}

static const struct {
	const char *key;
	bool (*valid)(const char *s, size_t len);
	bool required;
} frame_keys[] = {
	{"address", is_address, true},
	{"module", is_module, false},
	{"build_id", is_build_id, false},
	{"offset", is_address, false},
	{"symbol", is_symbol, false},
};

static int parse_frame(const json_t *in, json_t **out)
{
	_cleanup_json_ json_t *frame = json_object();

	if (!frame)
		return -ENOMEM;
	if (!json_is_object(in))
		return -EPROTO;
	for (size_t i = 0; i < ARRAY_SIZE(frame_keys); i++) {
		json_t *v = json_object_get(in, frame_keys[i].key);

		if (!v && !frame_keys[i].required)
			continue;
		if (!json_is_string(v) ||
			!frame_keys[i].valid(json_string_value(v), json_string_length(v)))
			return -EPROTO;
		if (json_object_set(frame, frame_keys[i].key, v) < 0)
			return -ENOMEM;
	}
	*out = TAKE_PTR(frame);
	return 0;
}

static int parse_stack(const json_t *in, unsigned int max_frames, json_t **out)
{
	_cleanup_json_ json_t *stack = json_array();

	if (!stack)
		return -ENOMEM;
	if (!json_is_array(in) || json_array_size(in) == 0 || json_array_size(in) > max_frames)
		return -EPROTO;
	for (size_t i = 0; i < json_array_size(in); i++) {
		json_t *frame = NULL;
		int r = parse_frame(json_array_get(in, i), &frame);

		if (r < 0)
			return r;
		if (json_array_append_new(stack, frame) < 0)
			return -ENOMEM;
	}
	*out = TAKE_PTR(stack);
	return 0;
}

static int parse_notes(const json_t *in)
{
	if (!json_is_array(in) || json_array_size(in) > UNWIND_NOTES_MAX)
		return -EPROTO;
	for (size_t i = 0; i < json_array_size(in); i++) {
		const json_t *note = json_array_get(in, i);

		if (!json_is_string(note) || json_string_length(note) > ESCAPED(UNWIND_MODULE_MAX))
			return -EPROTO;
	}
	return 0;
}

int unwind_reply_parse(const char *line, size_t len, unsigned int max_frames, json_t **out)
{
	_cleanup_json_ json_t *in = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	_cleanup_json_ json_t *thread = json_object();
	json_t *tid = json_object_get(in, "tid"), *truncated = json_object_get(in, "truncated");
	json_t *notes = json_object_get(in, "notes"), *stack = NULL;
	int r;

	if (!thread)
		return -ENOMEM;
	if (!json_is_integer(tid) || !json_is_boolean(truncated))
		return -EPROTO;
	r = notes ? parse_notes(notes) : 0;
	if (r == 0)
		r = parse_stack(json_object_get(in, "stack"), max_frames, &stack);
	if (r == 0)
		r = json_put(thread, "stack", stack);
	if (r < 0)
		return r;
	if (json_object_set(thread, "tid", tid) < 0 ||
		json_object_set(thread, "truncated", truncated) < 0 ||
		(notes && json_object_set(thread, "notes", notes) < 0))
		return -ENOMEM;
	*out = TAKE_PTR(thread);
	return 0;
}
