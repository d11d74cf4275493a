/* SPDX-License-Identifier: MIT */
/* Probes behind the waits of a process' loops: there only while one of them is suspected. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/stall_process.h"
#include "probe/returns.h"

struct stall_probe;

/* 0 or -errno, as returns_open(). */
int stall_probe_open(struct stall_probe **out);
void stall_probe_close(struct stall_probe *s); /* NULL-safe; nothing is armed any more */
int stall_probe_fd(const struct stall_probe *s);
/* Once it is readable. */
void stall_probe_clear(struct stall_probe *s);

/* Has the thread's rounds be told: its state says so. 0 or -errno. */
int stall_probe_arm(struct stall_probe *s, struct stall_process *p, struct stall_thread *t);
/* This one's rounds are of no interest any more; the last one takes the probes along. */
void stall_probe_disarm(struct stall_probe *s, struct stall_process *p, struct stall_thread *t);
void stall_probe_disarm_all(struct stall_probe *s, struct stall_process *p);

/* How often the thread came out of its wait, and when it last did. */
void stall_probe_read(const struct stall_probe *s, const struct stall_thread *t, uint64_t *rounds,
	uint64_t *last_ns);
/* The process' probes fired too often. */
bool stall_probe_is_over(const struct stall_probe *s, const struct stall_process *p);
