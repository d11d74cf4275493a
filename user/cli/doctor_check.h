/* SPDX-License-Identifier: MIT */
/* What `doctor` looks at: each check fills a finding. */
#pragma once

#include <bpf/btf.h>
#include <stdbool.h>

enum verdict {
	VERDICT_OK,
	VERDICT_DEGRADED, /* works, but less well */
	VERDICT_MISSING,
};

struct finding {
	enum verdict verdict;
	char detail[256]; /* may hold hostile text: printed escaped */
};

struct doctor {
	struct btf *btf;   /* the kernel's; NULL: none */
	const char *store; /* NULL: the default */
};

/* Looks at SUBJECT, whose meaning is the check's. */
typedef void doctor_check(const struct doctor *d, const char *subject, struct finding *f);

void finding_set(struct finding *f, enum verdict verdict, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* BPF: by loading (and attaching) programs that do nothing. */
doctor_check doctor_btf;
doctor_check doctor_bpf;	/* a program may be loaded at all */
doctor_check doctor_tracepoint; /* tp_btf/SUBJECT attaches */
doctor_check doctor_fentry;	/* fentry/SUBJECT attaches */
doctor_check doctor_iterator;	/* iter/SUBJECT attaches */
doctor_check doctor_uprobe;
doctor_check doctor_requests; /* the probe of requests loads and attaches */
doctor_check doctor_map;      /* the map type SUBJECT, as enum bpf_map_type has it */
doctor_check doctor_helper;   /* tracing programs may call SUBJECT, as enum bpf_func_id has it */

/* The host. */
doctor_check doctor_kernel;
doctor_check doctor_root;
doctor_check doctor_capability; /* "cap_bpf" */
doctor_check doctor_lockdown;
doctor_check doctor_seccomp;
doctor_check doctor_core_pattern;
doctor_check doctor_sysctl; /* /proc/sys/SUBJECT is there and may be written */
doctor_check doctor_ptrace_scope;
doctor_check doctor_store;
doctor_check doctor_space;
doctor_check doctor_debugger;
