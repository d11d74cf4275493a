/* SPDX-License-Identifier: MIT */
/* Where the programs of request.bpf.c are hooked in. What is read is always seen: of TCP at one
 * hook, of other sockets at another one, which is there once a watched process has such. What is
 * sent is seen only while that is worth what the hook costs every process on the host. */
#pragma once

#include <abi.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "request.skel.h"

#define REQUEST_HOOKS_MAX 5 /* of a kind */

struct request_links {
	struct bpf_link *v[REQUEST_HOOKS_MAX];
	size_t n;
};

struct request_hooks {
	bool by_tracepoint; /* else by the exits of the protocols' own calls */
	bool by_reads;	    /* TCP has a hook of its own */
	bool attached;
	bool always; /* all hooks are there */
	bool failed; /* it could not be; told once */
	bool others_failed;
	uint64_t until_ns;	 /* CLOCK_MONOTONIC, as the others: so long what is sent is seen */
	uint64_t sampling_ns;	 /* when it is the next time, whatever goes on */
	uint64_t others_ns;	 /* when sockets but those of TCP are looked for the next time */
	struct bpf_link *others; /* the pass that does */
	struct request_links reading, receiving, sending;
};

/* Which of the programs this kernel can take; before they are loaded. PLAINLY: without those that
 * read the kernel's buffers. 0 or -errno, -EOPNOTSUPP: the kernel has no hooks for requests. */
int request_hooks_choose(struct request_hooks *h, struct request_bpf *s, bool plainly);
/* ALWAYS: all of them are needed all the time. 0 or -errno, then nothing is left attached. */
int request_hooks_attach(struct request_hooks *h, struct request_bpf *s, bool always);
/* After each pass over the connections, WHOLE or broken off: begins or ends to look at what is
 * sent, and begins to look at other sockets. */
void request_hooks_review(struct request_hooks *h, struct request_bpf *s, bool whole);
void request_hooks_detach(struct request_hooks *h);
