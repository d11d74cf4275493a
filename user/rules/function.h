/* SPDX-License-Identifier: MIT */
/* Functions, and pairs of static probes, that are not to take long. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct function_wish {
	char *text;	       /* as it was given, without the time: "libc.so.6:fsync" */
	char *file;	       /* a path, or its end; "": the executable */
	char *provider;	       /* of static probes; NULL: it is a function */
	char *name;	       /* the function's, or that of the probe which begins */
	char *end;	       /* of the probe which ends; NULL of a function */
	unsigned int argument; /* of static probes, which joins them; 0: their thread does */
	uint64_t limit_ns;
};

#define FUNCTIONS_MAX 8 /* a rule */

struct function_rule {
	struct function_wish v[FUNCTIONS_MAX];
	size_t n;
};

/* "FILE:SYMBOL" or "usdt:FILE:PROVIDER:BEGIN,END[@ARGUMENT]", the text before a '='; 0, -EINVAL,
 * -ENOMEM. LIMIT_NS is for the caller to set. */
int function_parse(const char *text, size_t length, struct function_wish *out);
void function_wish_free(struct function_wish *w);
void function_rule_free(struct function_rule *r);

/* Whether PATH, the name of a mapped file, is the one that is meant; EXECUTABLE is the process'. */
bool function_means(const struct function_wish *w, const char *path, const char *executable);

/* A call that began at ENTERED_NS is one too long as of NOW_NS, and was not yet when they were
 * looked at last, at LAST_NS (0: never): each is so once. */
bool function_is_due(uint64_t limit_ns, uint64_t entered_ns, uint64_t last_ns, uint64_t now_ns);
/* How long to wait between two looks, so that it is seen in time. */
uint64_t function_interval_ns(uint64_t limit_ns);
