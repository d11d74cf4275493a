/* SPDX-License-Identifier: MIT */
#include "cli/stall_probe.h"

#include <errno.h>

#include "lib/clock.h"

int stall_probe_arm(struct returns *r, struct stall_process *p, struct stall_thread *t)
{
	int error;

	if (!stall_process_knows(p, t)) /* it is known where others wait, but not where it does */
		return -EAGAIN;
	error = returns_add(r, t->tid, t->epoll);
	if (error == 0 && !p->probes) {
		error = returns_begin(
			r, &p->process, t->tid, p->places, p->place_count, &p->probes);
		p->probes_tid = t->tid;
		p->probes_places = p->place_count;
	}
	if (error < 0) {
		returns_remove(r, t->tid);
		return error;
	}
	t->suspect = true;
	if (p->armed)
		stall_arm(&t->state, clock_now_ns(CLOCK_MONOTONIC));
	return 0;
}

void stall_probe_begin(struct stall_process *p)
{
	p->armed = true;
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].suspect)
			stall_arm(&p->v[i].state, clock_now_ns(CLOCK_MONOTONIC));
}

void stall_probe_disarm(struct returns *r, struct stall_process *p, struct stall_thread *t)
{
	if (!t->suspect)
		return;
	returns_remove(r, t->tid);
	stall_disarm(&t->state);
	t->suspect = false;
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].suspect)
			return;
	returns_end(r, p->pid, p->probes);
	p->probes = 0;
	p->armed = false;
}

void stall_probe_disarm_all(struct returns *r, struct stall_process *p)
{
	for (size_t i = 0; i < p->n; i++)
		stall_probe_disarm(r, p, &p->v[i]);
}

void stall_probe_check(struct returns *r, struct stall_process *p)
{
	bool miss = p->probes_places != p->place_count;

	for (size_t i = 0; i < p->n; i++)
		miss |= p->v[i].gone && p->v[i].tid == p->probes_tid;
	if (p->probes && miss)
		stall_probe_disarm_all(r, p);
}

void stall_probe_read(
	const struct returns *r, const struct stall_thread *t, uint64_t *rounds, uint64_t *last_ns)
{
	*rounds = *last_ns = 0;
	if (t->suspect)
		returns_read(r, t->tid, rounds, last_ns);
}
