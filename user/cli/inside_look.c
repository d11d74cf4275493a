/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/inside_parts.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"
#include "target/go.h"
#include "target/mapped.h"
#include "target/stat.h"

#define PATH_SHOWN 200
/* A program loads its libraries as it begins; later they come and go more seldom. */
#define BEGINNING_NS   (2 * NSEC_PER_SEC)
#define LOOK_EARLY_NS  (50 * NSEC_PER_MSEC)
#define LOOKS_A_SECOND 100
#define LOOK_NS	       (1 * NSEC_PER_SEC)

/* What a look goes by. */
struct look {
	struct inside_looks *looks;
	struct inside_process *process;
	struct process held;
	struct inside_holder holder; /* a live thread */
	int taskfd;
	struct maps maps;
	char executable[PATH_MAX];
};

static void free_look(struct look *l)
{
	maps_free(&l->maps);
	cleanup_close(&l->taskfd);
	process_close(&l->held);
}

static int open_look(struct look *l)
{
	struct stat_line stat;
	ssize_t n;
	char *deleted;
	int r = process_open(l->process->pid, &l->held);

	if (r < 0)
		return r;
	if (l->held.start_ticks != l->process->start_ticks)
		return -ESRCH;
	l->taskfd = process_open_live_task(&l->held, &l->holder.tid);
	if (l->taskfd < 0)
		return l->taskfd;
	r = stat_read(l->taskfd, &stat);
	if (r < 0)
		return r;
	l->holder.start_ticks = stat.start_ticks;
	n = readlinkat(l->taskfd, "exe", l->executable, sizeof(l->executable) - 1);
	if (n < 0)
		return -errno;
	l->executable[n] = '\0';
	deleted = strstr(l->executable, " (deleted)");
	if (deleted && deleted[strlen(" (deleted)")] == '\0')
		*deleted = '\0';
	return maps_read(l->taskfd, false, &l->maps);
}

/* One that ends has no memory any more before it says that it has ended. */
bool inside_holder_lives(const struct process *p, const struct inside_holder *holder)
{
	_cleanup_close_ int taskfd = process_open_task(p, holder->tid);
	struct stat_line stat;
	char target[1];

	return taskfd >= 0 && stat_read(taskfd, &stat) == 0 &&
	       stat.start_ticks == holder->start_ticks &&
	       readlinkat(taskfd, "exe", target, sizeof(target)) > 0;
}

static const struct mapping *find_file(const struct look *l, const struct function_wish *wish)
{
	for (size_t i = 0; i < l->maps.n; i++) {
		const struct mapping *m = &l->maps.v[i];

		if (m->prot & PROT_EXEC && mapping_has_file(m) &&
			function_means(wish, m->name, l->executable))
			return m;
	}
	return NULL;
}

__attribute__((format(printf, 4, 5))) static void note(const struct look *l,
	const struct inside_function *f, const char *reason, const char *format, ...)
{
	struct inside_note *n = NULL;
	va_list args;

	if (!f->quiet)
		n = inside_add_note(l->looks->notes, l->process, f, reason);
	if (!n)
		return;
	va_start(args, format);
	vsnprintf(n->detail, sizeof(n->detail), format, args);
	va_end(args);
}

static void note_file(const struct look *l, const struct inside_function *f, const char *reason,
	const char *path, const char *what)
{
	_cleanup_free_ char *printable = text_printable(path, strlen(path), PATH_SHOWN);

	note(l, f, reason, "%s %s", printable ? printable : "", what);
}

/* ---- ending ---- */

static void free_code(struct inside_code *c)
{
	free(c->places);
	free(c->path);
	free(c);
}

static void end_code(struct functions *functions, struct inside_process *p, struct inside_code *c)
{
	struct inside_code **at = &p->codes;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	functions_unwatch(functions, &c->watch);
	free_code(c);
	if (!p->codes)
		functions_end_process(functions, p->pid);
}

static void let_go(struct functions *functions, struct inside_process *p, struct inside_function *f)
{
	struct inside_code *c = TAKE_PTR(f->code);

	if (c && --c->users == 0)
		end_code(functions, p, c);
}

void inside_release(struct functions *functions, struct inside_process *p)
{
	for (size_t i = 0; i < p->function_count; i++)
		let_go(functions, p, &p->functions[i]);
}

/* At the same address: a library that was loaded again is another one. */
static bool is_mapped(const struct look *l, const struct inside_code *c)
{
	const struct mapping *m = maps_find(&l->maps, c->start);

	return m && m->start == c->start && m->inode == c->inode && m->major == c->major &&
	       m->minor == c->minor;
}

/* ---- beginning ---- */

static void ask_go(struct look *l)
{
	struct inside_process *p = l->process;
	uint64_t begun;
	int r;

	if (p->asked_go)
		return;
	p->asked_go = true;
	begun = clock_now_ns(CLOCK_BOOTTIME);
	r = go_read_goid_offset(l->taskfd, &p->goid);
	l->looks->read_ns += clock_now_ns(CLOCK_BOOTTIME) - begun;
	p->is_go = r == 0 || r == -EOPNOTSUPP; /* a version whose numbers cannot be read */
	if (r < 0)
		p->goid = 0;
}

static void refuse(
	struct look *l, struct inside_function *f, const struct mapping *m, const char *what)
{
	note_file(l, f, "function-refused", m->name, what);
	if (!f->quiet && l->looks->notes->n)
		l->looks->notes->v[l->looks->notes->n - 1].refused = true;
	f->refused = true;
	f->refused_inode = m->inode;
}

static const char *describe(int error)
{
	switch (error) {
	case -EEXIST:
		return "has it where another --function has a probe already";
	case -ENOTSUP:
		return "has it with an instruction that cannot be probed";
	case -ENXIO:
		return "has it in a part that is not mapped";
	case -ENOSPC:
		return "has it, but there are too many probes";
	default:
		return strerror(-error);
	}
}

/* With all that they mean: pairs of static probes may begin at one place and end at others. */
static bool has_places(const struct inside_code *c, const struct places *places)
{
	for (uint32_t i = 0; c->place_count == places->n && i < places->n; i++)
		if (!place_is_equal(&c->places[i], &places->v[i]))
			return false;
	return c->place_count == places->n;
}

static struct inside_code *find_code(
	const struct look *l, const struct mapping *m, const struct places *places)
{
	for (struct inside_code *c = l->process->codes; c; c = c->next)
		if (c->inode == m->inode && c->major == m->major && c->minor == m->minor &&
			has_places(c, places))
			return c;
	return NULL;
}

/* Only with its first probe: most processes of a rule for all have none. */
static int begin_process(const struct look *l)
{
	if (l->process->codes)
		return 0;
	return functions_begin_process(l->looks->functions, l->process->pid);
}

static int new_code(struct look *l, const struct mapping *m, int fd, const struct places *places,
	bool go, struct inside_code **out)
{
	const struct functions_wish wish = {.pid = l->process->pid,
		.tid = l->holder.tid,
		.fd = fd,
		.maps = &l->maps,
		.which = m,
		.places = places,
		.go = go,
		.goid = l->process->goid};
	struct inside_code *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->path = strdup(m->name);
	c->places = calloc(places->n, sizeof(*c->places));
	r = c->path && c->places ? begin_process(l) : -ENOMEM;
	r = r < 0 ? r : functions_watch(l->looks->functions, &wish, &c->watch);
	if (r < 0) {
		if (!l->process->codes)
			functions_end_process(l->looks->functions, l->process->pid);
		free_code(c);
		return r;
	}
	memcpy(c->places, places->v, places->n * sizeof(*c->places));
	c->place_count = places->n;
	c->holder = l->holder;
	c->start = m->start;
	c->inode = m->inode;
	c->major = m->major;
	c->minor = m->minor;
	c->go = go;
	c->mapped = c->held = true;
	c->next = l->process->codes;
	l->process->codes = *out = c;
	return 0;
}

static void put_off(struct look *l, struct inside_function *f, const struct mapping *m)
{
	if (!f->put_off)
		note_file(l, f, "function-put-off", m->name,
			"is read later: there is no room, or a tenth of the time has gone into "
			"reading files");
	f->put_off = true;
}

static void begin(struct look *l, struct inside_function *f, const struct mapping *m)
{
	_cleanup_close_ int fd = mapped_open(l->held.procfd, l->holder.tid, m);
	bool patient = f->named && l->process->looks == 0 && !l->process->renewed;
	bool in_executable = strcmp(m->name, l->executable) == 0;
	const struct places *places = NULL;
	struct inside_code *code;
	int r = fd < 0 ? fd : inside_find_places(l->looks, f->wish, fd, patient, &places);

	if (inside_error_passes(r)) {
		put_off(l, f, m);
		return;
	}
	f->put_off = false;
	if (r < 0) {
		refuse(l, f, m, places ? places->why : strerror(-r));
		return;
	}
	if (in_executable && !f->wish->provider)
		ask_go(l);
	code = find_code(l, m, places);
	r = code ? 0
		 : new_code(l, m, fd, places,
			   in_executable && !f->wish->provider && l->process->is_go, &code);
	if (r < 0) {
		refuse(l, f, m, describe(r));
		return;
	}
	code->users++;
	f->code = code;
	f->judged_ns = 0;
}

/* Of all functions, before any is looked for: code that is not held must not be shared again. */
static void look_at_code(struct look *l, struct inside_function *f)
{
	if (!f->code || (f->code->mapped && f->code->held))
		return;
	if (!f->code->mapped) {
		if (l->process->looks) /* else it is another image */
			note_file(l, f, "function-unloaded", f->code->path,
				"is no longer loaded: its calls are forgotten, it is looked for "
				"once a second, more seldom with many processes");
		f->missed = l->process->looks > 0;
	} else {
		note_file(l, f, "probes-renewed", f->code->path,
			"was probed by a thread that has ended: its calls are forgotten, the "
			"probes are put on anew");
	}
	let_go(l->looks->functions, l->process, f);
}

static void look_for(struct look *l, struct inside_function *f)
{
	const struct mapping *m;

	if (f->code)
		return;
	m = find_file(l, f->wish);
	if (m && !(f->refused && f->refused_inode == m->inode))
		begin(l, f, m);
	/* Not at the first look: a program that has just begun loads its libraries. */
	if (m || f->missed || l->process->looks == 0 ||
		clock_now_ns(CLOCK_BOOTTIME) - l->process->begun_ns < LOOK_NS)
		return;
	f->missed = true;
	note(l, f, "function-not-loaded",
		"no such file is loaded: it is looked for once a second, more seldom with many "
		"processes");
}

/* A hundred looks a second are enough for all together. */
static uint64_t next_look(const struct inside_looks *looks, const struct inside_process *p)
{
	uint64_t now = clock_now_ns(CLOCK_BOOTTIME);

	return now + looks->processes * (LOOK_NS / LOOKS_A_SECOND) +
	       (now - p->begun_ns < BEGINNING_NS ? LOOK_EARLY_NS : LOOK_NS);
}

void inside_look(struct inside_looks *looks, struct inside_process *p)
{
	__attribute__((cleanup(free_look))) struct look l = {
		.looks = looks, .process = p, .held = PROCESS_NONE, .taskfd = -1};
	int r = open_look(&l);

	p->next_look_ns = next_look(looks, p);
	if (r < 0) {
		if (r != -ESRCH && r != -ENOENT)
			log_debug("event=look pid=%d errno=%d", p->pid, -r);
		return;
	}
	for (struct inside_code *c = p->codes; c; c = c->next) {
		c->mapped = is_mapped(&l, c);
		c->held = inside_holder_lives(&l.held, &c->holder);
	}
	for (size_t i = 0; i < p->function_count; i++)
		look_at_code(&l, &p->functions[i]);
	for (size_t i = 0; i < p->function_count; i++)
		look_for(&l, &p->functions[i]);
	p->looks++;
}
