/* SPDX-License-Identifier: MIT */
/* Text that others wrote: made safe to print, and parsed strictly. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new string (caller frees, NULL without memory) of at most MAX bytes of the input S of LEN bytes
 * in which everything that is not printable UTF-8 stands as \xNN: control and escape characters,
 * invalid or overlong sequences, bidirectional and zero-width controls. Backslash itself becomes
 * \\. A cut is marked with "…". Used for terminals and for the names of files. */
char *text_printable(const char *s, size_t len, size_t max);

/* The same bound and validity, but control characters stay (a JSON writer escapes them itself):
 * valid UTF-8, with \xNN only where the bytes are not. */
char *text_utf8(const char *s, size_t len, size_t max);

/* Lower-case letters, digits, '.', '_' and '-' only, everything else '_'; never empty, never starts
 * with a dot. For a path component. */
void text_filename(const char *s, char *out, size_t size);

/* Shell-style match (fnmatch without FNM_PATHNAME, so '*' crosses '/'). */
bool text_glob(const char *pattern, const char *s);

/* Strict parsers: the whole string, no sign, no blanks. 0, -EINVAL (not a number) or -ERANGE. */
int text_parse_u64(const char *s, uint64_t *out);
/* 10, 10K, 10M, 10G, 10T (1024), also with "iB" or "B" behind; bytes. */
int text_parse_size(const char *s, uint64_t *out);
/* 10 (seconds), 250ms, 10s, 5m, 1h, 1d, decimals allowed ("1.5s"); nanoseconds. */
int text_parse_duration(const char *s, uint64_t *out_ns);
/* 80, 12.5, 80%; thousandths of a percent. */
int text_parse_percent(const char *s, uint64_t *out_thousandths);

/* "1.4 GiB", "12 KiB", "17 B" into BUF, which is returned. */
const char *text_format_size(uint64_t bytes, char *buf, size_t size);
