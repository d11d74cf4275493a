/* SPDX-License-Identifier: MIT */
/* Who owns kernel.core_pattern.
 *
 * The kernel has one pattern for the host; several coretraps share it. The first that joins saves
 * what was set and sets its own, the last that leaves puts it back, byte for byte. What a killed
 * coretrap left is put back by the next that joins. Everything happens under one lock, in a
 * directory that outlives the processes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Characters of a pattern that the kernel keeps (CORENAME_MAX_SIZE less the NUL). */
#define REGISTRY_PATTERN_MAX 127
#define REGISTRY_PIPE_LIMIT  4096
#define REGISTRY_FIGHTS_MAX  5
#define REGISTRY_WHY_MAX     256

struct registry_places {
	int runtimefd;	     /* RUNTIME_DIRECTORY */
	int sysctlfd;	     /* /proc/sys, or a fixture's */
	const char *program; /* absolute path of the handler */
	const char *cgroup;  /* directory of the cgroup that handlers are to join; NULL: none */
};

struct registry;

/* Registers this process as an owner, and arms the host. Descriptors and strings are borrowed
 * during the call only. WHY (may be NULL) gets a sentence on failure, after which nothing is
 * changed. -ENAMETOOLONG: the pattern would be longer than the kernel keeps; -EINVAL: a path the
 * kernel would split; -EROFS, -EACCES: no right to set it. */
int registry_join(
	const struct registry_places *places, struct registry **out, char why[REGISTRY_WHY_MAX]);

/* The same, with this host's directories, this program and this process' cgroup. */
int registry_join_host(struct registry **out, char why[REGISTRY_WHY_MAX]);

/* To be called now and then. 0: all is as it was set. 1: somebody had rewritten it; theirs is now
 * what will be put back, ours is set again. -EBUSY: that happened more than REGISTRY_FIGHTS_MAX
 * times: said once, theirs stays from now on, and crashes no longer come here. Else -errno. */
int registry_check(struct registry *r);
/* The pattern somebody else had set at the last check that returned 1 or -EBUSY, without newline;
 * else "". */
const char *registry_rewritten(const struct registry *r);

/* Gives up the ownership; the last owner puts back what was there, where it is still ours.
 * NULL-safe; *r is NULL afterwards, whatever is returned. In a forked child it only frees. */
int registry_leave(struct registry **r);

/* "|PROGRAM core-handler …" into OUT; -ENAMETOOLONG, -EINVAL as above. Pure. */
int registry_pattern(
	const char *program, char out[REGISTRY_PATTERN_MAX + 1], char why[REGISTRY_WHY_MAX]);
/* Whether TEXT is a pattern that registry_pattern() could have built. Pure. */
bool registry_is_ours(const char *text);

/* For the handlers. */
struct registry_owner {
	pid_t pid;
	uint64_t start_ticks;
	char socket[108]; /* of its broker */
	char *cgroup;	  /* directory to join, or NULL */
};

struct registry_owners {
	struct registry_owner *v;
	size_t n;
};

/* The owners that live. 0 or -errno; the caller frees. */
int registry_owners(int runtimefd, struct registry_owners *out);
void registry_owners_free(struct registry_owners *o);
#define _cleanup_registry_owners_ __attribute__((cleanup(registry_owners_free)))

/* What was there before coretrap: the pattern without newline, a new string, and fs.suid_dumpable.
 * -ENOENT: nothing is saved. */
int registry_previous(int runtimefd, char **pattern, int *suid_dumpable);
