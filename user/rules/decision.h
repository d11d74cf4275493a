/* SPDX-License-Identifier: MIT */
/* What the rules say about one event, and how a capture is to be made. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum core_kind {
	CORE_FULL,
	CORE_HEAP,
	CORE_MINI,
	CORE_STACKS, /* no memory: threads and traces as JSON */
	CORE_NONE,   /* the record alone */
};

enum core_compression {
	COMPRESS_ZSTD,
	COMPRESS_NONE, /* a sparse file */
};

enum output_form {
	OUTPUT_STORE, /* a directory of captures */
	OUTPUT_FILE,  /* one plain file, named by the user */
	OUTPUT_STDOUT,
};

enum snapshot_mode {   /* how a live process is held while its core is written */
	SNAPSHOT_AUTO, /* SNAPSHOT_FORK where that is possible, else SNAPSHOT_STOP */
	SNAPSHOT_FORK, /* a copy-on-write clone is written, the process goes on */
	SNAPSHOT_STOP, /* the process stands still until its core is written */
};

/* What a capture may take of the host: the sentinel's limits, all 0 elsewhere. */
struct host_share {
	uint64_t keep_free;	    /* bytes of the file system that stay free */
	unsigned int keep_free_pct; /* and percent of it; the larger of the two holds */
	uint64_t write_speed;	    /* bytes a second; 0: no limit */
	unsigned int crash_at_once; /* captures of dying processes; 0: the handler's own number */
};

/* WHAT of the command line (DESIGN.md, section 4). Strings are borrowed from the configuration. */
struct capture_options {
	enum core_kind kind;
	enum core_compression compression;
	unsigned int compress_threads; /* 0: as many as the machine can spare */
	enum output_form form;
	const char *output;  /* DIR or FILE; NULL: the default store */
	bool replace;	     /* FILE, where it is there already */
	const char *comment; /* may be NULL; the user's own words */
	bool ignore_core_limit;
	enum snapshot_mode snapshot; /* of a live process */
	uint64_t max_pause_ns;	     /* a live process stands still no longer; 0: no limit */
	struct host_share host;
};

struct decision {
	bool capture;
	const char *rule;	 /* name of the rule that matched, NULL if none did */
	const char *skip_reason; /* static text, set where a rule matched but must not capture */
	bool told;		 /* the skip: that of the failure before said until when */
	const struct capture_options *what;
	uint64_t entry; /* CAPTURE: in the ledger; 0: it has none */
};

/* "full" ↔ CORE_FULL …: one table for flags, events and messages. -EINVAL for an unknown name. */
const char *core_kind_name(enum core_kind kind);
int core_kind_parse(const char *name);
const char *core_compression_name(enum core_compression c);
int core_compression_parse(const char *name);
const char *snapshot_mode_name(enum snapshot_mode mode);
int snapshot_mode_parse(const char *name);
