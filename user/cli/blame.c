/* SPDX-License-Identifier: MIT */
#include "cli/blame.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/log.h"
#include "rules/shares.h"
#include "sink/threshold.h"

/* A look at one process' threads is a walk over all tasks, and each burner takes two: where a whole
 * host burns at once, more than these would have it burn more. */
#define BURNERS_MAX 64

struct burner {
	struct burner *next, **at; /* AT is what points to it */
	struct shares_look from;   /* no threads: there were too many burners, or an error */
	const char *why_not;	   /* static; NULL: FROM is there */
	struct profiling *stacks;
};

struct blame {
	struct sampler *sampler;
	struct burner *head;
	size_t n;
	struct profiling_budget budget;
};

int blame_new(struct sampler *sampler, struct blame **out)
{
	struct blame *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->sampler = sampler;
	*out = b;
	return 0;
}

void blame_free(struct blame *b)
{
	free(b);
}

void blame_poll(struct blame *b)
{
	for (struct burner *burner = b->head; burner; burner = burner->next)
		if (burner->stacks)
			profiling_poll(burner->stacks);
}

static int look(struct sampler *s, const struct sample *sample, struct shares_look *out)
{
	int r = sampler_read_threads(s, sample->pid, sample->start_ticks, &out->threads, &out->n);

	if (r < 0)
		return r;
	out->time_ns = sample->time_ns;
	out->cpu_ns = sample->cpu_ns;
	return 0;
}

struct burner *blame_begin(struct blame *b, const struct sample *sample)
{
	struct burner *burner = calloc(1, sizeof(*burner));
	int r;

	if (!burner)
		return NULL;
	if (b->n >= BURNERS_MAX) {
		burner->why_not = "too many processes were past a threshold at once";
	} else {
		r = look(b->sampler, sample, &burner->from);
		if (r < 0) {
			log_error("event=blame pid=%d errno=%d", sample->pid, -r);
			burner->why_not = "they could not be looked at";
		}
	}
	burner->next = b->head;
	burner->at = &b->head;
	if (b->head)
		b->head->at = &burner->next;
	b->head = burner;
	b->n++;
	return burner;
}

void blame_sample_stacks(struct blame *b, struct burner *burner, const struct sample *sample)
{
	if (!burner->stacks)
		burner->stacks = profiling_start(
			&b->budget, sample->pid, sample->start_ticks, sample->threads);
}

void blame_end(struct blame *b, struct burner *burner)
{
	if (!burner)
		return;
	*burner->at = burner->next;
	if (burner->next)
		burner->next->at = burner->at;
	b->n--;
	profiling_release(burner->stacks);
	free(burner->from.threads);
	free(burner);
}

int blame_name(const struct blame *b, const struct burner *burner, const struct sample *sample,
	json_t *trigger, pid_t *tid)
{
	struct shares_look from = burner->from, to = {0};
	struct shares shares;
	int r;

	*tid = 0;
	if (burner->why_not)
		return json_put_text(
			json_object_get(trigger, "cpu"), "threads_reason", burner->why_not);
	if (sample->time_ns <= from.time_ns) /* it tripped at the first look */
		return 0;
	r = look(b->sampler, sample, &to);
	if (r < 0)
		return r;
	shares_compute(&from, &to, &shares);
	free(to.threads);
	if (shares.n)
		*tid = shares.top[0].tid;
	return threshold_put_shares(trigger, &shares);
}

struct profiling *blame_stacks(const struct burner *burner)
{
	return burner->stacks;
}
