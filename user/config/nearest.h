/* SPDX-License-Identifier: MIT */
/* "Did you mean": the known word that a mistyped one is closest to. */
#pragma once

#include <stddef.h>

struct nearest {
	const char *word; /* what was written */
	const char *best; /* NULL: none is close */
	size_t distance;  /* of BEST */
};

/* Begins: only words within a third of WORD's length (at least one letter) are close. */
struct nearest nearest_begin(const char *word);
/* Considers one known word, which must outlive N. */
void nearest_consider(struct nearest *n, const char *known);
