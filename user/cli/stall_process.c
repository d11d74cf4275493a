/* SPDX-License-Identifier: MIT */
#include "cli/stall_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/text.h"
#include "target/stat.h"
#include "target/wait_site.h"

#define LOOK_NS NSEC_PER_SEC /* between two looks over all threads */

int stall_process_new(const struct target *target, uint64_t rules, struct stall_process **out)
{
	struct stall_process *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->pid = target->pid;
	p->start_ticks = target->start_ticks;
	p->rules = rules;
	p->process = PROCESS_NONE;
	*out = p;
	return 0;
}

void stall_process_free(struct stall_process *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		cleanup_close(&p->v[i].fd);
	process_close(&p->process);
	free(p->v);
	free(p->tids);
	free(p);
}

/* ---- who is a loop ---- */

static struct stall_thread *find(const struct stall_process *p, pid_t tid)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].tid == tid)
			return &p->v[i];
	return NULL;
}

static struct stall_thread *add(struct stall_process *p, pid_t tid)
{
	if (p->n == p->room) {
		size_t room = p->room ? p->room * 2 : 4;
		struct stall_thread *v = reallocarray(p->v, room, sizeof(*v));

		if (!v)
			return NULL;
		p->v = v;
		p->room = room;
	}
	p->v[p->n] = (struct stall_thread){.tid = tid, .fd = -1, .round = p->rounds};
	return &p->v[p->n++];
}

void stall_process_drop(struct stall_process *p, struct stall_thread *t)
{
	cleanup_close(&t->fd);
	*t = p->v[--p->n];
}

static bool knows_place(const struct stall_process *p, uint64_t pc)
{
	for (size_t i = 0; i < p->place_count; i++)
		if (p->places[i].address == pc)
			return true;
	return false;
}

bool stall_process_knows(const struct stall_process *p, const struct stall_thread *t)
{
	return knows_place(p, t->pc);
}

static void add_place(struct stall_process *p, const struct maps *maps, uint64_t pc)
{
	struct wait_site site;

	if (knows_place(p, pc) || wait_site_locate(maps, pc, &site) < 0)
		return;
	if (p->place_count == RETURNS_PLACES_MAX)
		p->places_full = true;
	else
		p->places[p->place_count++] = site;
}

static int read_maps(const struct stall_process *p, pid_t tid, struct maps *out)
{
	_cleanup_close_ int taskfd = process_open_task(&p->process, tid);

	return taskfd < 0 ? taskfd : maps_read(taskfd, false, out);
}

static void learn_place(struct stall_process *p, const struct stall_thread *t)
{
	uint64_t others[RETURNS_PLACES_MAX];
	_cleanup_maps_ struct maps maps = {};
	ssize_t n;

	if (p->places_full || knows_place(p, t->wait.pc) || read_maps(p, t->tid, &maps) < 0)
		return;
	add_place(p, &maps, t->wait.pc);
	n = wait_sites_read(
		p->process.procfd, t->tid, t->wait.pc, t->wait.call, others, ARRAY_SIZE(others));
	for (ssize_t i = 0; i < n; i++)
		add_place(p, &maps, others[i]);
}

/* Any thread's mappings are those of all, where it lives. */
static int read_some_maps(const struct stall_process *p, struct maps *out)
{
	int r = -ESRCH;

	for (size_t i = 0; r < 0 && i < p->n; i++)
		r = read_maps(p, p->v[i].tid, out);
	return r;
}

void stall_process_forget_places(struct stall_process *p)
{
	_cleanup_maps_ struct maps maps = {};
	size_t kept = 0;

	if (read_some_maps(p, &maps) < 0)
		return;
	for (size_t i = 0; i < p->place_count; i++)
		if (wait_site_holds(&maps, &p->places[i]))
			p->places[kept++] = p->places[i];
	p->place_count = kept;
	for (size_t i = p->n; i-- > 0;)
		if (p->v[i].fd >= 0 && !stall_process_knows(p, &p->v[i]))
			stall_process_drop(p, &p->v[i]);
}

static void saw_wait(struct stall_process *p, struct stall_thread *t, enum loop_call loop)
{
	uint64_t epoll = loop == LOOP_EPOLL ? t->wait.arguments[0] : 0;

	t->shares &= epoll == t->epoll;
	t->loop = loop;
	t->call = t->wait.call;
	t->epoll = epoll;
	t->pc = t->wait.pc;
	learn_place(p, t);
}

static uint64_t read_start(const struct stall_process *p, pid_t tid)
{
	_cleanup_close_ int taskfd = process_open_task(&p->process, tid);
	struct stat_line line;

	return taskfd >= 0 && stat_read(taskfd, &line) == 0 ? line.start_ticks : 0;
}

/* Who polls may do so once, for an answer: a loop does it again, and nothing else in between. */
static bool polls_again(
	const struct stall_process *p, struct stall_thread *t, const struct thread_wait *wait)
{
	uint64_t start_ticks = read_start(p, t->tid);
	struct thread_status status;
	bool again;

	if (wait_read_status(p->process.procfd, t->tid, &status) < 0)
		return false;
	again = t->start_ticks == start_ticks && t->pc == wait->pc &&
		status.switches != t->switches;
	t->start_ticks = start_ticks;
	t->pc = wait->pc;
	t->switches = status.switches;
	return again;
}

static void note_starving(struct stall_process *p, int error)
{
	p->starved |= error == -EMFILE || error == -ENFILE;
}

static void look_at(struct stall_process *p, pid_t tid)
{
	struct stall_thread *t = find(p, tid);
	_cleanup_close_ int fd = -1;
	struct thread_wait wait;
	enum loop_call loop;
	char path[64];

	if (t && t->loop != LOOP_NONE)
		return;
	if (t)
		t->round = p->rounds;
	snprintf(path, sizeof(path), "task/%d/syscall", tid);
	fd = openat(p->process.procfd, path, O_RDONLY | O_CLOEXEC);
	note_starving(p, fd < 0 ? -errno : 0);
	if (fd < 0 || wait_read_fd(fd, &wait) < 0)
		return;
	loop = wait_loop_call(&wait);
	if (loop == LOOP_NONE) {
		if (t && !wait.runs)
			stall_process_drop(p, t);
		return;
	}
	t = t ? t : add(p, tid);
	if (!t || (loop == LOOP_POLL && !polls_again(p, t, &wait)))
		return;
	t->wait = wait;
	t->fd = TAKE_FD(fd);
	saw_wait(p, t, loop);
}

/* Those that have ended, and were not there any more when all were last looked at. */
static void drop_candidates(struct stall_process *p)
{
	for (size_t i = p->n; i-- > 0;)
		if (p->v[i].loop == LOOP_NONE && p->v[i].round != p->rounds)
			stall_process_drop(p, &p->v[i]);
	p->rounds++;
}

static void list_threads(struct stall_process *p)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	size_t room = 0;
	uint64_t tid;

	free(p->tids);
	p->tids = NULL;
	p->tid_count = p->tid_at = 0;
	if (io_open_dir_at(p->process.procfd, "task", &dir) < 0)
		return;
	while ((entry = readdir(dir)) != NULL) {
		if (text_parse_u64(entry->d_name, &tid) < 0)
			continue;
		if (p->tid_count == room) {
			pid_t *v = reallocarray(p->tids, room ? room * 2 : 16, sizeof(*v));

			if (!v)
				return;
			p->tids = v;
			room = room ? room * 2 : 16;
		}
		p->tids[p->tid_count++] = (pid_t)tid;
	}
}

/* Most processes have no loops: only while one has, or is looked over, it takes descriptors. */
static bool is_open(struct stall_process *p)
{
	int r;

	if (p->process.procfd >= 0)
		return true;
	r = process_open(p->pid, &p->process);
	note_starving(p, r);
	if (r == 0 && p->process.start_ticks != p->start_ticks)
		process_close(&p->process);
	return p->process.procfd >= 0;
}

size_t stall_process_look(struct stall_process *p, uint64_t now_ns, size_t most)
{
	bool anew = p->tid_at == p->tid_count;
	size_t looks = 1;

	if (anew && now_ns < p->look_ns)
		return 0;
	if (anew)
		p->look_ns = now_ns + LOOK_NS;
	if (!is_open(p))
		return looks;
	if (anew) {
		drop_candidates(p);
		list_threads(p);
	}
	for (; p->tid_at < p->tid_count && looks < most; looks++)
		look_at(p, p->tids[p->tid_at++]);
	if (p->n == 0)
		process_close(&p->process);
	return looks;
}

/* ---- where they are ---- */

bool stall_process_waits(const struct stall_thread *t)
{
	enum loop_call now = wait_loop_call(&t->wait);

	if (now == LOOP_EPOLL)
		return true;
	/* Where a loop of epoll polls as well, it does so in the midst of its work. */
	return now == LOOP_POLL && t->loop == LOOP_POLL && t->wait.pc == t->pc;
}

static void take_sample(struct stall_process *p, struct stall_thread *t)
{
	struct stall_sample *s = &t->sample;
	struct thread_status status = {};
	int r = wait_read_fd(t->fd, &t->wait);

	*s = (struct stall_sample){.time_ns = clock_now_ns(CLOCK_MONOTONIC)};
	if (r == 0 && stall_process_waits(t)) {
		saw_wait(p, t, wait_loop_call(&t->wait));
		s->place = STALL_WAITS;
		return;
	}
	s->place = STALL_RUNS;
	if (r == 0 && t->wait.runs)
		return;
	if (r == 0)
		r = wait_read_status(p->process.procfd, t->tid, &status);
	t->gone = r == -ESRCH || (r == 0 && (status.state == 'Z' || status.state == 'X'));
	if (r < 0)
		return;
	s->place = status.state == 'T' || status.state == 't' ? STALL_STOPPED : STALL_BLOCKED;
	s->pc = t->wait.pc;
	s->sp = t->wait.sp;
	s->switches = status.switches;
}

static bool waits_for(const struct thread_wait *wait, uint64_t epoll)
{
	return wait_loop_call(wait) == LOOP_EPOLL && wait->arguments[0] == epoll;
}

/* Runtimes take turns at one epoll: who is not in it works, or sleeps until there is work. */
static void consider_others(struct stall_process *p, struct stall_thread *t)
{
	bool served = false;

	if (t->loop != LOOP_EPOLL || t->sample.place == STALL_WAITS)
		return;
	for (size_t i = 0; i < p->n && !served; i++)
		served = p->v[i].fd >= 0 && waits_for(&p->v[i].wait, t->epoll);
	t->shares |= served;
	if (t->shares)
		t->sample.place = STALL_WAITS;
}

void stall_process_sample(struct stall_process *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].fd >= 0)
			take_sample(p, &p->v[i]);
	for (size_t i = p->n; i-- > 0;)
		if (p->v[i].fd >= 0 && !p->v[i].gone)
			consider_others(p, &p->v[i]);
}

bool stall_process_is_served(struct stall_process *p, struct stall_thread *t)
{
	struct thread_wait wait;

	if (t->loop != LOOP_EPOLL)
		return false;
	list_threads(p); /* which begins the next look over them as well */
	for (size_t i = 0; i < p->tid_count; i++)
		if (p->tids[i] != t->tid && wait_read(p->process.procfd, p->tids[i], &wait) == 0 &&
			waits_for(&wait, t->epoll))
			t->shares = true;
	return t->shares;
}
