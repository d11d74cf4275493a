/* SPDX-License-Identifier: MIT */
/* The captures on disk. DIR/<UTC time>-<comm>-<pid>-<trigger>-<4 hex>/ holds core.zst (or core) and
 * incident.json.
 *
 * A capture is whole or absent: it grows under ".tmp-<id>" in the same directory, which its writer
 * keeps locked (flock), is synced, and then renamed. Making ".tmp-<id>" also reserves the id:
 * whoever publishes <id> holds
 * ".tmp-<id>", so an id is final from store_begin() on and may be written into the core itself. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STORE_DEFAULT_PATH "/var/lib/coretrap"
#define STORE_ID_MAX	   128 /* with the NUL */
#define STORE_INCIDENT	   "incident.json"
#define STORE_INCIDENT_MAX \
	(64 * 1024 * 1024) /* bytes of incident.json: stacks of thousands of threads fit */

struct store {
	int dirfd;
	char *path; /* absolute, for people; never opened again */
};

#define STORE_NONE ((struct store){.dirfd = -1})

/* Opens the store at PATH (NULL: STORE_DEFAULT_PATH); CREATE makes what is missing of it, and
 * closes a store that others can look into. store_strerror() says in one line what each error
 * means: -ENOENT, -ENOTDIR, -ELOOP (a link), -EPERM (not ours), -EACCES (others may write to it, or
 * to a directory above it), -EROFS. */
int store_open(const char *path, bool create, struct store *out);
void store_close(struct store *s);
#define _cleanup_store_ __attribute__((cleanup(store_close)))

/* What an error of any function here means for the store, or strerror()'s text. */
const char *store_strerror(int error);

/* Bytes that may still be written, and the size of the file system. */
int store_space(const struct store *s, uint64_t *available, uint64_t *total);
/* -ENOSPC unless NEED more bytes leave KEEP_FREE bytes; -EROFS. */
int store_check_space(const struct store *s, uint64_t need, uint64_t keep_free);

/* ---- writing ---- */

struct store_name {
	uint64_t realtime_ns; /* of the event, CLOCK_REALTIME */
	const char *comm;     /* hostile */
	pid_t pid;
	const char *trigger; /* "sigsegv", "cpu", "manual" … */
};

struct store_entry {
	int storefd; /* -1: none */
	int dirfd;   /* of the temporary directory, holds its lock */
	char id[STORE_ID_MAX];
	char *path; /* where it will be once published, for people */
};

#define STORE_ENTRY_NONE ((struct store_entry){.storefd = -1, .dirfd = -1})

/* Reserves an id and makes the temporary directory. -ENOSPC, -EROFS, … The lock lasts as long as
 * any copy of the descriptor, so a forked writer that outlives the caller keeps its entry. */
int store_begin(const struct store *s, const struct store_name *name, struct store_entry *out);
/* A new file (mode 0600) in the entry, for reading and writing; the caller closes *fd. -EEXIST. */
int store_entry_create_file(const struct store_entry *e, const char *name, int *fd);
/* Writes incident.json, syncs everything, and gives the entry its name. On failure nothing is
 * published, the entry is as before and is to be aborted: -ENOSPC, -EIO, -E2BIG (over
 * STORE_INCIDENT_MAX) … On success E is done, but for id and path, which stay readable until
 * store_abort(). */
int store_publish(struct store_entry *e, const json_t *incident);
/* Removes the entry unless it is published, and frees what E owns. */
void store_abort(struct store_entry *e);
#define _cleanup_store_entry_ __attribute__((cleanup(store_abort)))

/* Removes what dead writers left (temporaries whose lock is free). Returns how many, or -errno. */
int store_recover(const struct store *s);

/* ---- reading ---- */

struct store_item {
	char id[STORE_ID_MAX];
	uint64_t bytes;	      /* on disk, of all its files: holes do not count */
	uint64_t modified_ns; /* CLOCK_REALTIME, when it was complete */
};

struct store_items {
	struct store_item *v;
	size_t n;
};

/* All captures, the newest first. The caller frees with store_items_free(). */
int store_list(const struct store *s, struct store_items *out);
void store_items_free(struct store_items *items);
#define _cleanup_store_items_ __attribute__((cleanup(store_items_free)))

/* The capture called WHICH: an id, the unique beginning of one, or "latest". -ENOENT; -ENOTUNIQ. */
int store_find(const struct store *s, const char *which, char id[STORE_ID_MAX]);
/* Its incident.json, a new reference. It is data from outside: any field may be missing or of
 * another type. -ENOENT, -EBADMSG (not a JSON object), -E2BIG. */
int store_load(const struct store *s, const char *id, json_t **incident);
/* Opens the regular file NAME of the capture for reading: a descriptor or -errno, -ELOOP for a
 * link, -EBADMSG for any other kind of file. */
int store_open_file(const struct store *s, const char *id, const char *name);
/* Removes the capture with all that lies in it, following no links. -ENOENT; -EBUSY: somebody is at
 * it. */
int store_remove(const struct store *s, const char *id);
