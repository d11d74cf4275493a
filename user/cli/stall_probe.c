/* SPDX-License-Identifier: MIT */
#include "cli/stall_probe.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/clock.h"

struct stall_probe {
	struct returns *returns;
};

int stall_probe_open(struct stall_probe **out)
{
	struct stall_probe *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = returns_open(&s->returns);
	if (r < 0)
		free(s);
	else
		*out = s;
	return r;
}

void stall_probe_close(struct stall_probe *s)
{
	if (!s)
		return;
	returns_close(s->returns);
	free(s);
}

int stall_probe_fd(const struct stall_probe *s)
{
	return returns_fd(s->returns);
}

void stall_probe_clear(struct stall_probe *s)
{
	returns_clear(s->returns);
}

int stall_probe_arm(struct stall_probe *s, struct stall_process *p, struct stall_thread *t)
{
	int r = 0;

	if (!p->probes.n)
		r = returns_attach(
			s->returns, &p->process, t->tid, p->places, p->place_count, &p->probes);
	r = r < 0 ? r : returns_add(s->returns, t->tid);
	if (r < 0)
		return r;
	t->suspect = true;
	stall_arm(&t->state, clock_now_ns(CLOCK_MONOTONIC));
	return 0;
}

void stall_probe_disarm(struct stall_probe *s, struct stall_process *p, struct stall_thread *t)
{
	size_t others = 0;

	if (!t->suspect)
		return;
	returns_remove(s->returns, t->tid);
	stall_disarm(&t->state);
	t->suspect = false;
	for (size_t i = 0; i < p->n; i++)
		others += p->v[i].suspect;
	if (!others)
		returns_detach(s->returns, p->pid, &p->probes);
}

void stall_probe_disarm_all(struct stall_probe *s, struct stall_process *p)
{
	for (size_t i = 0; i < p->n; i++)
		stall_probe_disarm(s, p, &p->v[i]);
}

void stall_probe_read(const struct stall_probe *s, const struct stall_thread *t, uint64_t *rounds,
	uint64_t *last_ns)
{
	*rounds = *last_ns = 0;
	if (t->suspect)
		returns_read(s->returns, t->tid, rounds, last_ns);
}

bool stall_probe_is_over(const struct stall_probe *s, const struct stall_process *p)
{
	return p->probes.n && returns_is_over(s->returns, p->pid);
}
