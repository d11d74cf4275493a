/* SPDX-License-Identifier: MIT */
/* The daemon's side of the talk with its crash handlers: each handler connects, asks once, is
 * answered once, and says at the end what became of it. A person may inquire, too. Sequenced
 * packets of JSON, root only. Nothing here blocks. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "rules/decision.h"

#define BROKER_MESSAGE_MAX   (128 * 1024) /* bytes of JSON */
#define BROKER_CONVERSATIONS 4096	  /* as many handlers as the kernel starts at once */

/* What the kernel told the handler about a dying process, and what the handler saw of it. */
struct broker_question {
	pid_t pid, tid; /* the process and its faulting thread, in the host's PID namespace */
	int signal;
	int dump_mode; /* 1: an ordinary process, 2: its core is root's only (fs.suid_dumpable) */
	uint64_t core_limit;  /* soft RLIMIT_CORE, bytes; UINT64_MAX: none */
	uint64_t start_ticks; /* of the process, clock ticks since boot */
	int64_t time;	      /* of the death, seconds of CLOCK_REALTIME */
	uid_t uid;	      /* real user id */
	gid_t gid;
	char comm[16]; /* of the faulting thread; hostile */
};

enum broker_kind {
	BROKER_ASK,  /* a process is held: answer with broker_answer() */
	BROKER_DONE, /* what was decided has been done, or not: RESULT says so */
	BROKER_GONE, /* the handler ended without a result */
	BROKER_WHY,  /* a person wants to know what the rules see of QUESTION.PID: broker_tell() */
};

struct broker_message {
	enum broker_kind kind;
	uint64_t conversation;
	struct broker_question question; /* of the conversation, for all kinds */
	/* BROKER_DONE, owned: {"captured":true,"incident":{the capture event}}, or
	 * {"captured":false,"code":"no-space", "reason":"a sentence"}; code is one of no-space,
	 * read-only, target-gone, throttled, timeout, capture-failed, handler-failed. The incident
	 * comes without what would not fit into a message: the threads of a "stacks" capture, then
	 * the stack. */
	json_t *result;
};

void broker_message_free(struct broker_message *m);
#define _cleanup_broker_message_ __attribute__((cleanup(broker_message_free)))

struct broker;

/* Listens at "<pid>-<start ticks>.sock" below RUNTIMEFD, for handlers that run as user id PEER (0;
 * the tests' own). To be called before registry_join(), which tells handlers of it. */
int broker_open_at(int runtimefd, uid_t peer, struct broker **out);
/* The same in RUNTIME_DIRECTORY. */
int broker_open(struct broker **out);
/* Becomes readable when broker_receive() has something. Owned by the broker. */
int broker_fd(const struct broker *b);
/* 1: *out is filled, and the caller's; 0: nothing more for now; -errno. */
int broker_receive(struct broker *b, struct broker_message *out);
/* Answers the question of CONVERSATION; EVENT (borrowed; the trip, NULL without one) becomes the
 * capture's incident, OUTPUT_FD (borrowed) is handed over: the store's directory, a file, a pipe,
 * or -1. Without a capture the conversation ends here. -ENOENT: it ended already; -EMSGSIZE: the
 * event is too large. */
int broker_answer(struct broker *b, uint64_t conversation, const struct decision *decision,
	const json_t *event, int output_fd);
/* Tells what was inquired (REPLY is borrowed), which ends the conversation. -ENOENT, -EMSGSIZE. */
int broker_tell(struct broker *b, uint64_t conversation, const json_t *reply);
/* Removes the socket (unless this is a forked child) and frees; conversations are hung up. */
void broker_close(struct broker **b);
#define _cleanup_broker_ __attribute__((cleanup(broker_close)))
