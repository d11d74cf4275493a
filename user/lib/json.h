/* SPDX-License-Identifier: MIT */
/* jansson with owners, and setters that take hostile text. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Beside the flags for all that leaves for others: 97.3 is written as 97.3, not to 17 digits. */
#define JSON_DIGITS JSON_REAL_PRECISION(12)

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

/* Each returns 0 or -ENOMEM; OBJ stays the caller's. */
int json_put_text(json_t *obj, const char *key, const char *s); /* any bytes, bounded at 4 KiB */
int json_put_text_n(
	json_t *obj, const char *key, const char *s, size_t len); /* the same, with a length */
int json_put_int(json_t *obj, const char *key, int64_t v);
int json_put_bool(json_t *obj, const char *key, int v);
int json_put_hex(json_t *obj, const char *key, uint64_t v); /* "0x1f" */
int json_put(json_t *obj, const char *key, json_t *value);  /* takes VALUE; NULL value: -ENOMEM */

/* NULL-safe readers with a default. The string is borrowed from OBJ. */
const char *json_get_text(const json_t *obj, const char *key, const char *otherwise);
int64_t json_get_int(const json_t *obj, const char *key, int64_t otherwise);
