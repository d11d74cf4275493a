/* SPDX-License-Identifier: MIT */
#include "lib/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

#define TEXT_MAX 4096

int json_put(json_t *obj, const char *key, json_t *value)
{
	return value && json_object_set_new(obj, key, value) == 0 ? 0 : -ENOMEM;
}

int json_put_text_n(json_t *obj, const char *key, const char *s, size_t len)
{
	_cleanup_free_ char *valid = text_utf8(s, len, TEXT_MAX);

	return valid ? json_put(obj, key, json_string(valid)) : -ENOMEM;
}

int json_put_text(json_t *obj, const char *key, const char *s)
{
	return json_put_text_n(obj, key, s, strlen(s));
}

int json_put_int(json_t *obj, const char *key, int64_t v)
{
	return json_put(obj, key, json_integer(v));
}

int json_put_bool(json_t *obj, const char *key, int v)
{
	return json_put(obj, key, json_boolean(v));
}

int json_put_hex(json_t *obj, const char *key, uint64_t v)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "0x%" PRIx64, v);
	return json_put(obj, key, json_string(buf));
}

const char *json_get_text(const json_t *obj, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : otherwise;
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}
