/* SPDX-License-Identifier: MIT */
#include "config/nearest.h"

#include <string.h>

#define WORD_MAX 32 /* no key is longer, so nothing longer is close to one */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Letters to insert, drop, replace, or swap with their neighbour. */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
	size_t rows[3][WORD_MAX + 1];

	for (size_t j = 0; j <= m; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			row[j] = least(least(above[j], row[j - 1]) + 1,
				above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return rows[n % 3][m];
}

struct nearest nearest_begin(const char *word)
{
	size_t length = strlen(word), close = length / 3 ? length / 3 : 1;

	return (struct nearest){.word = word, .distance = close + 1};
}

void nearest_consider(struct nearest *n, const char *known)
{
	size_t length = strlen(n->word), known_length = strlen(known), d;

	if (length > WORD_MAX || known_length > WORD_MAX)
		return;
	d = distance(n->word, length, known, known_length);
	if (d < n->distance) {
		n->distance = d;
		n->best = known;
	}
}
