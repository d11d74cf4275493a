/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/inside_parts.h"
#include "lib/cleanup.h"
#include "target/go.h"
#include "target/memory.h"

#define CALLS_SHARE 4096 /* of 16,384 */
#define OLD_LIMITS  10

/* What a call is asked about. */
struct witness {
	struct process process;
	pid_t tid; /* a live thread, by which the rest is read */
	int taskfd, memfd;
};

static void free_witness(struct witness *w)
{
	process_close(&w->process);
	cleanup_close(&w->taskfd);
	cleanup_close(&w->memfd);
}

static int open_witness(const struct inside_process *p, struct witness *w)
{
	int r = process_open(p->pid, &w->process);

	if (r < 0)
		return r;
	if (w->process.start_ticks != p->start_ticks)
		return -ESRCH;
	w->taskfd = process_open_live_task(&w->process, &w->tid);
	if (w->taskfd < 0)
		return w->taskfd;
	w->memfd = openat(w->taskfd, "mem", O_RDONLY | O_CLOEXEC);
	if (w->memfd < 0) /* that thread may have ended meanwhile, and others live */
		return errno == ENOENT || errno == ESRCH ? -EAGAIN : -errno;
	return 0;
}

/* The return address is where the entry saw it, so the stack is still in use down to there, or
 * nobody has used it since. */
static bool has_word(const struct witness *w, uint64_t address, uint64_t expected)
{
	uint64_t word;

	return pread(w->memfd, &word, sizeof(word), (off_t)address) == (ssize_t)sizeof(word) &&
	       word == expected;
}

/* A thread that stands above the entry has left it. On another stack (a signal's, a coroutine's) it
 * may stand anywhere. */
static bool is_above(const struct witness *w, uint64_t sp, uint64_t entry)
{
	_cleanup_maps_ struct maps maps = {};
	const struct mapping *m;

	if (!sp || sp <= entry || maps_read(w->taskfd, false, &maps) < 0)
		return false;
	m = maps_find(&maps, entry);
	return m && sp < m->end;
}

/* A thread that has ended leaves calls behind as well. 1, 0 or -errno, as all of these. */
static int is_in_thread(
	const struct witness *w, const struct function_call *c, struct function_report *report)
{
	uint64_t entry = c->stack - c->below;
	int r = wait_read(w->process.procfd, c->tid, &report->wait);

	if (r < 0)
		return r == -ESRCH ? 0 : r;
	report->tid = c->tid;
	return has_word(w, entry, c->back) && !is_above(w, report->wait.sp, entry);
}

static int is_in_goroutine(const struct witness *w, uint32_t goid, const struct function_call *c,
	struct function_report *report)
{
	struct goroutine g;
	uint64_t entry;

	if (go_read_goroutine(w->memfd, c->owner, goid, &g) < 0 || g.number != c->goroutine)
		return false;
	entry = g.stack_high - c->below;
	report->goroutine = g.number;
	if (entry <= g.stack_low || !has_word(w, entry, c->back))
		return false;
	if (!g.tid)
		return g.sp <= entry;
	if (wait_read(w->process.procfd, g.tid, &report->wait) < 0)
		return true; /* what it says of its thread is not true, or no longer */
	report->tid = g.tid;
	return report->wait.sp <= entry || report->wait.sp > g.stack_high;
}

/* Where an argument joins, the thread that began may have turned to other work. */
static int is_between_probes(const struct witness *w, const struct function_wish *wish,
	const struct function_call *c, struct function_report *report)
{
	int r = wait_read(w->process.procfd, c->tid, &report->wait);

	if (r < 0)
		return r != -ESRCH ? r : wish->argument > 0;
	report->tid = c->tid;
	return 1;
}

bool inside_error_passes(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EAGAIN ||
	       error == -EINTR;
}

int inside_look_at_call(const struct inside_process *p, const struct inside_function *f,
	const struct function_call *call, bool briefly, struct function_report *report)
{
	__attribute__((cleanup(free_witness))) struct witness w = {
		.process = PROCESS_NONE, .taskfd = -1, .memfd = -1};
	int r = open_witness(p, &w);

	report->wait = (struct thread_wait){.call = -1};
	if (r == 0 && !inside_holder_lives(&w.process, &f->code->holder))
		return -ESTALE;
	if (r == 0)
		r = f->wish->provider ? is_between_probes(&w, f->wish, call, report)
		    : call->stack     ? is_in_goroutine(&w, p->goid, call, report)
				      : is_in_thread(&w, call, report);
	if (r < 0) /* what cannot be asked has not been left, as far as the probes tell */
		return r == -ESRCH ? 0 : inside_error_passes(r) ? r : 1;
	if (r == 1 && report->tid && !briefly &&
		wait_read_stack(w.process.procfd, report->tid, &report->stack) < 0)
		report->stack = NULL;
	return r;
}

/* The function with the longest limit of those that judge such a call, and whose calls an argument
 * joins; NULL: it is not a call of theirs. */
static const struct inside_function *find_joined(
	const struct inside_process *p, const struct function_call *call)
{
	const struct inside_function *longest = NULL;

	for (size_t i = 0; i < p->function_count; i++) {
		const struct inside_function *f = &p->functions[i];

		if (f->code && f->wish->argument && f->code->watch.instance == call->instance &&
			(!longest || f->wish->limit_ns > longest->wish->limit_ns))
			longest = f;
	}
	return longest;
}

uint64_t inside_give_up_calls(struct functions *functions, const struct inside_process *p,
	const struct function_call *calls, size_t n, uint64_t now)
{
	uint64_t dropped = 0;
	size_t count = 0;
	bool joins = false;

	for (size_t i = 0; i < p->function_count; i++)
		joins |= p->functions[i].code && p->functions[i].wish->argument;
	for (size_t i = 0; joins && i < n; i++)
		count += find_joined(p, &calls[i]) != NULL;
	for (size_t i = 0; count && i < n; i++) { /* the oldest first */
		const struct inside_function *f = find_joined(p, &calls[i]);

		if (!f || (count <= CALLS_SHARE &&
				  calls[i].entered_ns + OLD_LIMITS * f->wish->limit_ns >= now))
			continue;
		functions_drop(functions, &calls[i]);
		dropped++;
		count--;
	}
	return dropped;
}
