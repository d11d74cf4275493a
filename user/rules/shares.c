/* SPDX-License-Identifier: MIT */
#include "rules/shares.h"

#include <stdlib.h>
#include <string.h>

#define WHOLE 100000 /* thousandths of a percent */

static int compare_tids(const void *a, const void *b)
{
	pid_t left = ((const struct thread_sample *)a)->tid,
	      right = ((const struct thread_sample *)b)->tid;

	return (left > right) - (left < right);
}

static int compare_used(const void *a, const void *b)
{
	const struct thread_sample *x = a, *y = b;

	return x->cpu_ns != y->cpu_ns ? (x->cpu_ns > y->cpu_ns ? -1 : 1) : compare_tids(a, b);
}

/* Less than before: it is another thread, which got the id of one that ended. */
static uint64_t used_since(const struct shares_look *from, const struct thread_sample *t)
{
	const struct thread_sample *before =
		from->n ? bsearch(t, from->threads, from->n, sizeof(*t), compare_tids) : NULL;

	return before && before->cpu_ns <= t->cpu_ns ? t->cpu_ns - before->cpu_ns : t->cpu_ns;
}

static uint64_t part(uint64_t of, uint64_t whole)
{
	return whole ? (uint64_t)((unsigned __int128)of * WHOLE / whole) : 0;
}

void shares_compute(
	const struct shares_look *from, const struct shares_look *to, struct shares *out)
{
	uint64_t process = to->cpu_ns > from->cpu_ns ? to->cpu_ns - from->cpu_ns : 0;
	uint64_t sum = 0, listed = 0;

	*out = (struct shares){
		.window_ns = to->time_ns > from->time_ns ? to->time_ns - from->time_ns : 0};
	if (from->n)
		qsort(from->threads, from->n, sizeof(*from->threads), compare_tids);
	for (size_t i = 0; i < to->n; i++) {
		to->threads[i].cpu_ns = used_since(from, &to->threads[i]);
		sum += to->threads[i].cpu_ns;
	}
	if (to->n)
		qsort(to->threads, to->n, sizeof(*to->threads), compare_used);
	/* The threads are looked at a moment after the process, and may have used more by then. */
	if (process < sum)
		process = sum;
	for (size_t i = 0; i < to->n && to->threads[i].cpu_ns; i++) {
		const struct thread_sample *t = &to->threads[i];
		struct share *s = &out->top[out->n];

		if (out->n == SHARES_TOP) {
			out->more++;
			continue;
		}
		*s = (struct share){.tid = t->tid,
			.used_ns = t->cpu_ns,
			.share = part(t->cpu_ns, process),
			.cpu = part(t->cpu_ns, out->window_ns)};
		memcpy(s->comm, t->comm, sizeof(s->comm));
		listed += t->cpu_ns;
		out->n++;
	}
	out->rest = part(process - listed, process);
}
