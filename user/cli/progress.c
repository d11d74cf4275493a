/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/text.h"

#define DRAW_NS (100 * NSEC_PER_MSEC)
#define WIDTH	24

const char *progress_line(
	uint64_t done, uint64_t total, uint64_t elapsed_ns, char *buf, unsigned int size)
{
	char bar[WIDTH + 1], have[32], all[32], rate[32];
	double seconds = (double)elapsed_ns / 1e9,
	       fraction = total ? (double)done / (double)total : 1;
	double speed = seconds > 0 ? (double)done / seconds : 0;
	int filled = (int)(fraction * WIDTH);

	filled = filled > WIDTH ? WIDTH : filled;
	memset(bar, ' ', WIDTH);
	memset(bar, '#', (size_t)filled);
	bar[WIDTH] = '\0';
	snprintf(buf, size, "[%s] %s of %s, %s/s, %.0f s left", bar,
		text_format_size(done, have, sizeof(have)),
		text_format_size(total, all, sizeof(all)),
		text_format_size((uint64_t)speed, rate, sizeof(rate)),
		speed > 0 && total > done ? (double)(total - done) / speed : 0.0);
	return buf;
}

void progress_draw(struct progress *p, uint64_t done, uint64_t total)
{
	uint64_t now;
	char line[160];

	if (!p->shown)
		return;
	now = clock_now_ns(CLOCK_MONOTONIC);
	if (!p->began_ns)
		p->began_ns = now;
	if (p->drawn_ns && now - p->drawn_ns < DRAW_NS)
		return;
	p->drawn_ns = now;
	fprintf(stderr, "\r%s\033[K",
		progress_line(done, total, now - p->began_ns, line, sizeof(line)));
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->shown && p->drawn_ns)
		fputs("\r\033[K", stderr);
}
