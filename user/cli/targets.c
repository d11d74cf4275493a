/* SPDX-License-Identifier: MIT */
#include "cli/targets.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <search.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "capture/preflight.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "target/stat.h"

static int compare_pids(const void *a, const void *b)
{
	pid_t left = ((const struct target *)a)->pid, right = ((const struct target *)b)->pid;

	return (left > right) - (left < right);
}

static struct target *find_pid(const struct targets *t, pid_t pid)
{
	const struct target key = {.pid = pid};
	struct target **found = tfind(&key, &t->by_pid, compare_pids);

	return found ? *found : NULL;
}

const struct target *targets_get(const struct targets *t, pid_t pid, uint64_t start_ticks)
{
	const struct target *target = find_pid(t, pid);

	return target && target->start_ticks == start_ticks ? target : NULL;
}

static void remove_target(struct targets *t, struct target *target)
{
	tdelete(target, &t->by_pid, compare_pids);
	*target->at = target->next;
	if (target->next)
		target->next->at = target->at;
	identity_free(&target->identity);
	free(target);
	t->n--;
}

void targets_remove(struct targets *t, pid_t pid, uint64_t start_ticks)
{
	struct target *target = find_pid(t, pid);

	if (target && target->start_ticks == start_ticks)
		remove_target(t, target);
}

/* Takes the place of an earlier one of that id, whose end was not seen. */
static int insert_target(struct targets *t, struct target *target)
{
	struct target *earlier = find_pid(t, target->pid);

	if (earlier)
		remove_target(t, earlier);
	if (!tsearch(target, &t->by_pid, compare_pids))
		return -ENOMEM;
	target->next = t->head;
	target->at = &t->head;
	if (t->head)
		t->head->at = &target->next;
	t->head = target;
	t->n++;
	return 0;
}

int targets_add(struct targets *t, struct identity *id, uint64_t rules, const struct target **out)
{
	bool pids_only = rule_set_are_pids_only(t->rules, rules);
	enum probe_verdict verdict = rules & rule_set_trees(t->rules) ? PROBE_WATCH_TREE
				     : pids_only		      ? PROBE_WATCH
								      : PROBE_WATCH_FORKS;
	struct target *target = calloc(1, sizeof(*target));
	int r;

	if (!target)
		return -ENOMEM;
	r = probe_mark(t->probe, id->pid, id->start_ticks, 0, verdict);
	if (r < 0 && pids_only) {
		free(target); /* nothing else would have it reported */
		return r;
	}
	target->pid = id->pid;
	target->start_ticks = id->start_ticks;
	target->rules = rules;
	r = insert_target(t, target);
	if (r < 0) {
		free(target);
		return r;
	}
	target->identity = *id;
	*id = (struct identity){};
	if (out)
		*out = target;
	return 0;
}

void targets_sweep(struct targets *t)
{
	for (struct target *target = t->head, *next; target; target = next) {
		_cleanup_process_ struct process p = PROCESS_NONE;

		next = target->next;
		if (process_open(target->pid, &p) == 0 && p.start_ticks == target->start_ticks &&
			process_verify(&p) == 0)
			target->missing = false;
		else if (!target->missing)
			target->missing = true; /* its record may be on the way */
		else
			targets_remove(t, target->pid, target->start_ticks);
	}
}

void targets_free(struct targets *t)
{
	while (t->head)
		remove_target(t, t->head);
}

static int read_identity(pid_t pid, struct identity *out)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	int r = process_open(pid, &p);

	if (r < 0)
		return r;
	r = identity_read(p.procfd, out);
	if (r == 0)
		out->pid = pid;
	return r;
}

/* Of one that has ended no more than its parent can be told. */
static bool is_own(const struct identity *id)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	char comm[sizeof(id->comm)];

	if (process_open(id->pid, &p) == 0 && p.start_ticks == id->start_ticks &&
		preflight_is_own(&p))
		return true;
	return id->ppid == getpid() && prctl(PR_GET_NAME, comm) == 0 && strcmp(comm, id->comm) == 0;
}

/* coretrap's own processes are nobody's targets: what they would have of it is that each trip comes
 * to nothing. Who names one by its id shall have that told. */
static uint64_t but_own(const struct targets *t, const struct identity *id, uint64_t rules)
{
	if (!rules || !is_own(id))
		return rules;
	for (size_t i = 0; rule_set_next(rules, &i); i++) {
		const struct who *who = &t->rules->v[i].who;

		if (!who_is_pids_only(who) || !who_matches(who, id))
			rules &= ~(1ULL << i);
	}
	return rules;
}

static uint64_t inherited(const struct targets *t, pid_t ppid)
{
	const struct target *parent = find_pid(t, ppid);

	return parent ? parent->rules & rule_set_trees(t->rules) : 0;
}

/* A target that also descends from another. */
static bool widen(struct targets *t, struct target *target)
{
	uint64_t more = inherited(t, target->identity.ppid) & ~target->rules;

	target->rules |= more;
	if (more)
		probe_mark(t->probe, target->pid, target->start_ticks, 0, PROBE_WATCH_TREE);
	return more;
}

/* Children of targets, their children and so on: /proc is read in no order, so until a pass adds
 * nothing. */
static int add_descendants(struct targets *t, struct identity *all, size_t n)
{
	bool grew = rule_set_trees(t->rules);

	while (grew) {
		grew = false;
		for (struct target *target = t->head; target; target = target->next)
			grew |= widen(t, target);
		for (size_t i = 0; i < n; i++) {
			uint64_t rules =
				all[i].pid ? but_own(t, &all[i], inherited(t, all[i].ppid)) : 0;

			if (!rules)
				continue;
			if (targets_add(t, &all[i], rules, NULL) < 0)
				return -ENOMEM;
			grew = true;
		}
	}
	return 0;
}

/* Kernel threads and zombies have no executable, and nothing to watch: only who asks for one gets
 * it. */
static uint64_t match(const struct targets *t, const struct identity *id)
{
	uint64_t rules = rule_set_matching(t->rules, id);

	for (size_t i = 0; !id->executable && rule_set_next(rules, &i); i++)
		if (t->rules->v[i].who.all)
			rules &= ~(1ULL << i);
	return but_own(t, id, rules);
}

int targets_find(struct targets *t)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct identity *all = NULL;
	size_t n = 0, room = 0;
	const struct dirent *entry;
	uint64_t pid, rules;
	int r = 0;

	if (!proc)
		return -errno;
	while (r == 0 && (entry = readdir(proc)) != NULL) {
		struct identity id = {};

		if (text_parse_u64(entry->d_name, &pid) < 0 || pid == (uint64_t)getpid() ||
			read_identity((pid_t)pid, &id) < 0)
			continue; /* ended since readdir */
		rules = match(t, &id);
		if (rules) {
			r = targets_add(t, &id, rules, NULL);
			identity_free(&id);
			continue;
		}
		if (n == room) {
			struct identity *bigger =
				reallocarray(all, room ? room * 2 : 256, sizeof(*all));

			r = bigger ? 0 : -ENOMEM;
			all = bigger ? bigger : all;
			room = bigger ? (room ? room * 2 : 256) : room;
		}
		if (r == 0)
			all[n++] = id;
	}
	if (r == 0)
		r = add_descendants(t, all, n);
	for (size_t i = 0; i < n; i++)
		identity_free(&all[i]);
	free(all);
	return r;
}

static int copy_identity(const struct identity *in, struct identity *out)
{
	*out = *in;
	out->executable = in->executable ? strdup(in->executable) : NULL;
	out->cgroup = in->cgroup ? strdup(in->cgroup) : NULL;
	out->arguments = in->arguments ? malloc(in->arguments_size + 1) : NULL;
	if (out->arguments)
		memcpy(out->arguments, in->arguments, in->arguments_size + 1);
	if ((in->executable && !out->executable) || (in->cgroup && !out->cgroup) ||
		(in->arguments && !out->arguments)) {
		identity_free(out);
		return -ENOMEM;
	}
	return 0;
}

/* The path that was given to execve, made absolute: from the parent's directory, which is that of a
 * program a shell started as ./x. It is taken only where it is the image that the kernel side saw;
 * else its base name is all there is. */
static char *executed(const struct event *e)
{
	const char *given = e->kind == EVENT_EXEC && e->filename ? e->filename : "";
	char path[PATH_MAX], real[PATH_MAX];
	const char *slash;

	if (given[0] == '/')
		snprintf(path, sizeof(path), "%s", given);
	else
		snprintf(path, sizeof(path), "/proc/%d/cwd/%s", e->process.ppid, given);
	if (given[0] && given[0] != '/' && realpath(path, real))
		snprintf(path, sizeof(path), "%s", real);
	slash = strrchr(path, '/');
	return strdup(given[0] && strcmp(slash + 1, e->process.exe) == 0 ? path : e->process.exe);
}

/* The event itself says enough to name and judge a process that is gone. */
static int complete_from_event(const struct event *e, struct identity *id)
{
	const struct event_process *p = &e->process;

	id->pid = p->pid;
	id->tid = p->tid;
	id->ppid = p->ppid;
	id->ns_pid = p->ns_pid;
	id->uid = p->uid;
	id->gid = p->gid;
	id->start_ticks = p->start_ticks;
	memcpy(id->comm, p->comm, sizeof(id->comm));
	if (!id->executable && p->exe[0])
		id->executable = executed(e);
	if (!id->arguments_size && e->arguments) {
		free(id->arguments);
		id->arguments = malloc(e->arguments_size + 1);
		if (!id->arguments)
			return -ENOMEM;
		memcpy(id->arguments, e->arguments, e->arguments_size + 1);
		id->arguments_size = e->arguments_size;
	}
	return 0;
}

/* The target that the event's process is, or whose image it runs: a child that was forked before
 * its parent had its mark, and that is gone, is known by nothing else. */
static const struct target *find_known(const struct targets *t, const struct event *e)
{
	const struct target *known = targets_get(t, e->process.pid, e->process.start_ticks),
			    *parent = find_pid(t, e->process.ppid);
	const char *path = parent ? parent->identity.executable : NULL,
		   *slash = path ? strrchr(path, '/') : NULL;

	if (!known && slash && strcmp(slash + 1, e->process.exe) == 0)
		return parent;
	return known;
}

int targets_identify(const struct targets *t, const struct event *e, struct identity *out)
{
	const struct target *known = find_known(t, e);
	struct identity id = {};
	int r;

	if (read_identity(e->process.pid, &id) < 0 || id.start_ticks != e->process.start_ticks ||
		!id.executable) {
		identity_free(&id);
		r = known ? copy_identity(&known->identity, &id) : 0;
		if (r < 0)
			return r;
	}
	r = complete_from_event(e, &id);
	if (r < 0) {
		identity_free(&id);
		return r;
	}
	*out = id;
	return 0;
}

/* Unless it has taken another name since it was judged: the kernel side then saw no mark to take
 * away. */
static void ignore(struct targets *t, const struct event_process *p, const struct identity *id)
{
	_cleanup_close_ int procfd = -1;
	struct stat_line now;
	char path[32];

	if (probe_mark(t->probe, p->pid, p->start_ticks, p->exec_id, PROBE_IGNORE) < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d", p->pid);
	procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (procfd >= 0 && stat_read(procfd, &now) == 0 &&
		strncmp(now.comm, id->comm, sizeof(now.comm)) != 0)
		probe_unmark(t->probe, p->pid);
}

/* It does not match, but might, were more known of it. */
static bool might_match(const struct who *w, const struct identity *id)
{
	const struct who_list *exe = &w->globs[WHO_EXE];

	if (!id->cgroup &&
		(w->globs[WHO_CGROUP].n || w->globs[WHO_UNIT].n || w->globs[WHO_CONTAINER].n))
		return true;
	for (size_t i = 0; id->executable && id->executable[0] != '/' && i < exe->n; i++) {
		const char *slash = strrchr(exe->v[i], '/');

		if (text_glob(slash ? slash + 1 : exe->v[i], id->executable))
			return true;
	}
	return false;
}

static bool might_match_any(const struct targets *t, const struct identity *id)
{
	for (size_t i = 0; i < t->rules->n; i++)
		if (might_match(&t->rules->v[i].who, id))
			return true;
	return false;
}

/* Of the tree's members the kernel side says so; who joined before the mark was there shows by its
 * parent. */
static uint64_t judge_descent(
	const struct targets *t, const struct event_process *p, const struct identity *id)
{
	const uint64_t trees = rule_set_trees(t->rules);
	const struct target *known = targets_get(t, p->pid, p->start_ticks),
			    *root = p->tree_root ? find_pid(t, (pid_t)p->tree_root) : NULL;
	uint64_t rules = trees ? inherited(t, id->ppid) : 0;

	rules |= known ? known->rules & trees : 0;
	rules |= root ? root->rules & trees : 0;
	/* Those that would tell of which tree are gone. */
	return rules || !p->tree_root ? rules : trees;
}

uint64_t targets_judge(struct targets *t, const struct event *e, const struct identity *id)
{
	const struct event_process *p = &e->process;
	uint64_t rules = but_own(t, id, judge_descent(t, p, id) | rule_set_matching(t->rules, id));

	if (rules)
		return rules;
	/* Of a process that could not be read in full (it is ending) the next event may say more.
	 */
	if (!rule_set_is_changeable(t->rules) && !rule_set_trees(t->rules) && id->executable &&
		id->executable[0] == '/')
		ignore(t, p, id);
	else if (e->kind == EVENT_DEATH && might_match_any(t, id))
		t->unjudged++;
	return 0;
}
