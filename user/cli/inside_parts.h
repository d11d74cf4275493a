/* SPDX-License-Identifier: MIT */
/* What the parts of inside share. */
#pragma once

#include <sys/stat.h>

#include "cli/inside.h"
#include "target/process.h"

/* The thread by which the kernel holds the probes of a process: without it they stay until they are
 * hit once, and are gone then. */
struct inside_holder {
	pid_t tid;
	uint64_t start_ticks;
};

/* Code that is probed; several rules may ask for the same. */
struct inside_code {
	struct inside_code *next;
	struct function_watch watch;
	struct inside_holder holder;
	uint64_t start; /* of the mapping that it was found by, which says whether it is there */
	uint64_t inode;
	uint32_t major, minor;
	struct place *places; /* of its probes in the file, PLACE_COUNT */
	uint32_t place_count;
	char *path;
	bool go;
	bool mapped, held;  /* at the last look */
	unsigned int users; /* functions below */
};

/* One function of one rule in one process. */
struct inside_function {
	size_t rule;
	const struct function_wish *wish;
	struct inside_code *code; /* NULL: it is not watched */
	uint64_t refused_inode;	  /* the file in which it cannot be watched */
	bool named;		  /* a rule for this very process, which may wait for it */
	bool put_off;		  /* it was said that its file is read later */
	bool quiet;		  /* a rule for all: most processes do not have it */
	bool refused, missed;	  /* it was said that it cannot; that there is no such file */
	uint64_t judged_ns;	  /* CLOCK_BOOTTIME, when its calls were looked at last */
};

struct inside_process {
	struct inside_process *next;
	pid_t pid;
	uint64_t start_ticks;
	uint64_t rules;
	bool renewed;	  /* it is another image than the first */
	bool lost_holder; /* to be looked at after the pass */
	uint64_t busy;	  /* captures are under way: until the end of the pass */
	uint64_t tripped; /* in this pass: others are folded */
	uint64_t folded[RULE_SET_MAX];
	bool over;	      /* its probes fired too often: it is left alone */
	bool asked_go, is_go; /* its executable */
	uint32_t goid;
	unsigned int looks;
	uint64_t next_look_ns, begun_ns; /* CLOCK_BOOTTIME */
	struct inside_code *codes;
	struct inside_function *functions;
	size_t function_count;
};

struct inside_notes {
	struct inside_note *v;
	size_t n, next, room;
};

/* Room for one, its process, rule, function and reason set; NULL without memory. */
struct inside_note *inside_add_note(struct inside_notes *notes, const struct inside_process *p,
	const struct inside_function *f, const char *reason);

/* What was found of a rule's function in a file: processes of one program, or with one library,
 * have the same. */
struct inside_found {
	struct inside_found *next;
	const struct function_wish *wish;
	struct stat file;
	int error; /* 0 or -errno */
	struct place *v;
	uint32_t n;
	char *why; /* with an error: as struct places has it */
};

/* What looks go by. */
struct inside_looks {
	struct functions *functions;
	struct inside_notes *notes;
	struct inside_found *found; /* the last one that was asked for first */
	struct places places;	    /* of the last one */
	uint64_t begun_ns, read_ns; /* CLOCK_BOOTTIME; so long files were read */
	size_t processes;	    /* that are looked at: the more, the more seldom each */
};

/* As places_find(), in the file FD; OUT is good until the next call. Unless PATIENT a file gets no
 * more than a second, and all files together a tenth of the time: -EAGAIN, not now. */
int inside_find_places(struct inside_looks *looks, const struct function_wish *wish, int fd,
	bool patient, const struct places **out);
/* Whether another file may be read; pure. */
bool inside_may_read(uint64_t begun_ns, uint64_t read_ns, uint64_t now_ns);
/* Whether -errno says something of this moment, not of what was asked about. */
bool inside_error_passes(int error);
void inside_looks_free(struct inside_looks *looks);

/* Looks at what the process has mapped: begins to watch functions whose file is there, and ends it
 * where it is gone. */
void inside_look(struct inside_looks *looks, struct inside_process *p);
/* Whether that thread lives, so that its probes have been there until now. False as well without
 * descriptors to tell. */
bool inside_holder_lives(const struct process *p, const struct inside_holder *holder);
/* Takes all probes off. */
void inside_release(struct functions *functions, struct inside_process *p);

/* Whether CALL is under way, as far as the process itself and /proc tell, and who has it: fills
 * REPORT's goroutine, tid and wait; and, unless BRIEFLY and only where it is, the stack, which the
 * caller frees. 1: it is; 0: it has been left; -ESTALE: the probes'
 * holder has ended, so nothing is known; another -errno: that cannot be told at present. */
int inside_look_at_call(const struct inside_process *p, const struct inside_function *f,
	const struct function_call *call, bool briefly, struct function_report *report);
/* Work that an argument joins may never end, and its process may begin any amount of it, which
 * takes the room of all others' calls. Drops what is ten times as old as the longest limit that it
 * is judged by, and the oldest of a process that has more than its share; returns how many. */
uint64_t inside_give_up_calls(struct functions *functions, const struct inside_process *p,
	const struct function_call *calls, size_t n, uint64_t now);
