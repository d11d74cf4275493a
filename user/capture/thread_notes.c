/* SPDX-License-Identifier: MIT */
#include "capture/thread_state.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "target/memory.h"

#define AUXV_MAX 65536

/* Fields of stat that notes hold. */
struct times {
	char state;
	pid_t ppid, pgrp, sid;
	unsigned long flags, utime, stime, cutime, cstime; /* times in clock ticks */
	long nice;
};

struct builder {
	char *bytes;
	size_t size, room;
};

static int put(struct builder *b, const char *name, uint32_t type, const void *desc, size_t size)
{
	Elf64_Nhdr header = {
		.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)size, .n_type = type};
	size_t name_size = (header.n_namesz + 3) & ~3U, padded = (size + 3) & ~(size_t)3;
	size_t all = sizeof(header) + name_size + padded;

	if (b->room - b->size < all) {
		size_t want = b->room * 2 > b->size + all ? b->room * 2 : b->size + all + 65536;
		char *bytes = realloc(b->bytes, want);

		if (!bytes)
			return -ENOMEM;
		b->bytes = bytes;
		b->room = want;
	}
	memset(b->bytes + b->size, 0, all);
	memcpy(b->bytes + b->size, &header, sizeof(header));
	memcpy(b->bytes + b->size + sizeof(header), name, header.n_namesz);
	if (size)
		memcpy(b->bytes + b->size + sizeof(header) + name_size, desc, size);
	b->size += all;
	return 0;
}

static void read_times(int taskfd, struct times *out)
{
	_cleanup_free_ char *text = NULL;
	const char *end;

	*out = (struct times){.state = '?'};
	if (io_read_file_at(taskfd, "stat", 4096, &text, NULL) < 0)
		return;
	end = strrchr(text, ')');
	/* Fields 3 to 19: Documentation/filesystems/proc.rst */
	if (end)
		sscanf(end + 1, " %c %d %d %d %*d %*d %lu %*u %*u %*u %*u %lu %lu %lu %lu %*d %ld",
			&out->state, &out->ppid, &out->pgrp, &out->sid, &out->flags, &out->utime,
			&out->stime, &out->cutime, &out->cstime, &out->nice);
}

static struct timeval ticks(unsigned long n)
{
	unsigned long hertz = (unsigned long)sysconf(_SC_CLK_TCK);

	return (struct timeval){.tv_sec = (time_t)(n / hertz),
		.tv_usec = (suseconds_t)(n % hertz * 1000000 / hertz)};
}

static int put_prstatus(struct builder *b, const struct thread_state *t, const struct process *p)
{
	_cleanup_close_ int taskfd = process_open_task(p, t->tid);
	struct elf_prstatus status = {.pr_sigpend = t->pending,
		.pr_sighold = t->blocked,
		.pr_pid = t->tid,
		.pr_fpvalid = 1};
	struct times times;

	read_times(taskfd, &times);
	status.pr_ppid = times.ppid;
	status.pr_pgrp = times.pgrp;
	status.pr_sid = times.sid;
	status.pr_utime = ticks(times.utime);
	status.pr_stime = ticks(times.stime);
	status.pr_cutime = ticks(times.cutime);
	status.pr_cstime = ticks(times.cstime);
	_Static_assert(sizeof(status.pr_reg) == sizeof(t->regs), "one layout of registers");
	memcpy(&status.pr_reg, &t->regs, sizeof(t->regs));
	return put(b, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

static int put_prpsinfo(struct builder *b, const struct process *p)
{
	static const char states[] = "RSDTZW";
	_cleanup_identity_ struct identity id = {0};
	struct elf_prpsinfo info = {0};
	const char *state;
	struct times times;
	size_t size;

	if (identity_read(p->procfd, &id) < 0)
		return -ESRCH;
	read_times(p->procfd, &times);
	state = strchr(states, times.state == 't' ? 'T' : times.state);
	info.pr_sname = times.state == 't' ? 'T' : times.state;
	info.pr_state = (char)(state ? state - states : 0);
	info.pr_zomb = times.state == 'Z';
	info.pr_nice = (char)times.nice;
	info.pr_flag = times.flags;
	info.pr_uid = id.uid;
	info.pr_gid = id.gid;
	info.pr_pid = p->pid;
	info.pr_ppid = times.ppid;
	info.pr_pgrp = times.pgrp;
	info.pr_sid = times.sid;
	memcpy(info.pr_fname, id.comm,
		sizeof(id.comm) < sizeof(info.pr_fname) ? sizeof(id.comm) : sizeof(info.pr_fname));
	size = id.arguments_size < sizeof(info.pr_psargs) ? id.arguments_size
							  : sizeof(info.pr_psargs) - 1;
	for (size_t i = 0; i < size; i++)
		info.pr_psargs[i] = id.arguments[i] ? id.arguments[i] : ' ';
	return put(b, "CORE", NT_PRPSINFO, &info, sizeof(info));
}

static bool has_file(const struct mapping *m)
{
	return m->inode || m->name[0] == '/';
}

/* "count, page size, {start, end, offset in pages} …, names": fs/binfmt_elf.c, fill_files_note() */
int thread_state_file_note(const struct maps *maps, void **out, size_t *size)
{
	static const char deleted[] = " (deleted)";
	uint64_t count = 0, *numbers;
	size_t names = 0;
	char *bytes, *at;

	for (size_t i = 0; i < maps->n; i++) {
		if (!has_file(&maps->v[i]))
			continue;
		count++;
		names += strlen(maps->v[i].name) + sizeof(deleted);
	}
	bytes = calloc(1, (2 + 3 * count) * sizeof(uint64_t) + names);
	if (!bytes)
		return -ENOMEM;
	numbers = (uint64_t *)bytes;
	*numbers++ = count;
	*numbers++ = MEMORY_PAGE;
	at = bytes + (2 + 3 * count) * sizeof(uint64_t);
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *m = &maps->v[i];

		if (!has_file(m))
			continue;
		*numbers++ = m->start;
		*numbers++ = m->end;
		*numbers++ = m->offset / MEMORY_PAGE;
		at = stpcpy(stpcpy(at, m->name), m->deleted ? deleted : "") + 1;
	}
	*out = bytes;
	*size = (size_t)(at - bytes);
	return 0;
}

/* What comes once, behind the first thread's status. */
static int put_process(
	struct builder *b, const struct process *p, int taskfd, const struct maps *maps)
{
	_cleanup_free_ char *auxv = NULL;
	_cleanup_free_ void *files = NULL;
	const siginfo_t none = {0}; /* no signal brought it here */
	size_t size;
	int r = put_prpsinfo(b, p);

	if (r == 0)
		r = put(b, "CORE", NT_SIGINFO, &none, sizeof(none));
	if (r == 0)
		r = io_read_file_at(taskfd, "auxv", AUXV_MAX, &auxv, &size);
	if (r == 0)
		r = put(b, "CORE", NT_AUXV, auxv, size);
	if (r == 0)
		r = thread_state_file_note(maps, &files, &size);
	return r == 0 ? put(b, "CORE", NT_FILE, files, size) : r;
}

static int put_thread(struct builder *b, const struct thread_state *t)
{
	int r = put(b, "CORE", NT_FPREGSET, &t->fpregs, sizeof(t->fpregs));

	if (r == 0 && t->xstate_size)
		r = put(b, "LINUX", NT_X86_XSTATE, thread_state_xstate(t), t->xstate_size);
	return r;
}

static const struct thread_state *find(const struct thread_states *s, pid_t tid)
{
	const struct thread_state *t = NULL;

	while ((t = thread_states_next(s, t)) != NULL)
		if (t->tid == tid)
			return t;
	return thread_states_next(s, NULL);
}

int thread_state_notes(const struct thread_states *s, const struct process *p, int taskfd,
	const struct maps *maps, pid_t first, struct notes *out)
{
	const struct thread_state *head = find(s, first ? first : p->pid), *t = NULL;
	struct builder b = {0};
	int r = put_prstatus(&b, head, p);

	if (r == 0)
		r = put_process(&b, p, taskfd, maps);
	if (r == 0)
		r = put_thread(&b, head);
	while (r == 0 && (t = thread_states_next(s, t)) != NULL) {
		if (t == head)
			continue;
		r = put_prstatus(&b, t, p);
		if (r == 0)
			r = put_thread(&b, t);
	}
	if (r == 0)
		r = notes_parse(b.bytes, b.size, out);
	if (r < 0)
		free(b.bytes);
	return r;
}
