/* SPDX-License-Identifier: MIT */
/* What a process of `coretrap lab` does wrong. */
#pragma once

#include <stdint.h>

struct lab_options {
	uint64_t after_ns;	   /* before it begins to misbehave */
	uint64_t time_ns;	   /* slow: an answer takes this long */
	uint64_t rate;		   /* memory: bytes a second */
	uint64_t size;		   /* memory: bytes in all */
	uint64_t threads, percent; /* cpu */
	uint64_t code;		   /* exit */
	uint64_t port;		   /* slow; 0: any */
};

/* Each misbehaves until it is killed, or ends by itself. The exit status. */
int lab_crash(const struct lab_options *o);
int lab_cpu(const struct lab_options *o);
int lab_memory(const struct lab_options *o);
int lab_hang(const struct lab_options *o);
int lab_exit(const struct lab_options *o);

/* Opens a socket that listens on 127.0.0.1; *PORT is its port. The descriptor, or -errno. */
int lab_listen(uint64_t *port);
/* Serves it, /slow after TIME_NS. */
int lab_serve(int fd, uint64_t time_ns);
