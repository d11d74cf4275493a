/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "target/unwind.h"

#define SIGNATURE_FRAMES 5u

/* FNV-1a, 64 bits: no adversary is kept out by a better one, who can choose his stack anyway. */
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

/* With the NUL, so that "ab","c" and "a","bc" differ. */
static uint64_t hash_text(uint64_t h, const char *s)
{
	return hash_bytes(h, s, strlen(s) + 1);
}

/* How a program ends itself: glibc's and musl's names, and what the compilers' run time calls. */
static bool is_abort_path(const char *symbol)
{
	static const char *const names[] = {"abort", "__GI_abort", "raise", "__GI_raise", "gsignal",
		"pthread_kill", "__pthread_kill", "__pthread_kill_implementation",
		"__pthread_kill_internal", "__assert", "__assert_fail", "__assert_fail_base",
		"__assert_perror_fail", "__libc_message", "__libc_fatal", "malloc_printerr",
		"__fortify_fail", "__chk_fail", "__stack_chk_fail", "__libc_assert", "tgkill",
		"__tkill", "__restore_sigs", "__fortify_fail_abort", "__malloc_assert",
		"__stack_chk_fail_local"};

	for (size_t i = 0; symbol && i < ARRAY_SIZE(names); i++)
		if (strcmp(symbol, names[i]) == 0)
			return true;
	return false;
}

static bool is_c_library(const char *module)
{
	const char *base = module ? strrchr(module, '/') : NULL;

	base = base ? base + 1 : module;
	return base &&
	       (strncmp(base, "libc.so.", 8) == 0 || strncmp(base, "libc-2.", 7) == 0 ||
		       strncmp(base, "libpthread", 10) == 0 || strncmp(base, "ld-musl-", 8) == 0);
}

/* Frames of the abort path on top: up to the last of its names, and on to the caller of the C
 * library (free() of a broken pointer has nameless functions in between, where the library is
 * stripped). */
static size_t abort_path(const json_t *stack)
{
	size_t n = json_array_size(stack), last = 0;
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		const json_t *f = json_array_get(stack, i);
		bool named = is_abort_path(json_get_text(f, "symbol", NULL));

		if (!named && !is_c_library(json_get_text(f, "module", NULL)))
			break;
		found |= named;
		if (found)
			last = i + 1;
	}
	return last < n ? last : 0; /* nothing would be left: all of it counts */
}

static uint64_t hash_frame(uint64_t h, const json_t *f)
{
	const char *build_id = json_get_text(f, "build_id", NULL);
	const char *offset = json_get_text(f, "offset", NULL);
	const char *symbol = json_get_text(f, "symbol", NULL);

	if (build_id && offset)
		return hash_text(hash_text(h, build_id), offset);
	return hash_text(h, symbol ? symbol : "?");
}

void unwind_signature(int signal, const json_t *stack, char out[17])
{
	const uint64_t basis = 0xcbf29ce484222325ULL;
	uint8_t number = (uint8_t)signal;
	uint64_t h = hash_bytes(basis, &number, sizeof(number)), previous = 0;
	unsigned int taken = 0;

	for (size_t i = abort_path(stack); i < json_array_size(stack); i++) {
		uint64_t frame = hash_frame(basis, json_array_get(stack, i));

		if (taken == SIGNATURE_FRAMES)
			break;
		/* A recursion crashes at any depth: one frame for all of its turns. */
		if (taken && frame == previous)
			continue;
		h = hash_bytes(h, &frame, sizeof(frame));
		previous = frame;
		taken++;
	}
	snprintf(out, 17, "%016" PRIx64, h);
}
