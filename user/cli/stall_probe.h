/* SPDX-License-Identifier: MIT */
/* Probes behind the waits of a process' loops: there only while one of them is suspected. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/stall_process.h"
#include "probe/returns.h"

/* Has the thread's rounds be told. Its state says when that begins: at once, or with the answer
 * about the process' probes. 0, -EAGAIN (later), or -errno. */
int stall_probe_arm(struct returns *r, struct stall_process *p, struct stall_thread *t);
/* The probes of P are there. */
void stall_probe_begin(struct stall_process *p);
/* This one's rounds are of no interest any more; the last one takes the probes along. */
void stall_probe_disarm(struct returns *r, struct stall_process *p, struct stall_thread *t);
void stall_probe_disarm_all(struct returns *r, struct stall_process *p);

/* Takes them off where they miss rounds: the thread that they were asked for has ended, or a wait
 * at another place has been seen. To be called before rounds are read. */
void stall_probe_check(struct returns *r, struct stall_process *p);

/* How often the thread came out of its wait, and when it last did. */
void stall_probe_read(
	const struct returns *r, const struct stall_thread *t, uint64_t *rounds, uint64_t *last_ns);
