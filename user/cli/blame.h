/* SPDX-License-Identifier: MIT */
/* Who burns the processor: the threads of each process that is past a CPU threshold, from the look
 * that found it so, and what their stacks are. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cli/profiling.h"
#include "probe/sampler.h"

struct blame;  /* of one watch */
struct burner; /* one process that is past a threshold */

int blame_new(struct sampler *sampler, struct blame **out); /* borrowed; 0 or -ENOMEM */
void blame_free(struct blame *b);			    /* NULL-safe; it has no burners */
/* At least once a second, where there is any burner. */
void blame_poll(struct blame *b);

/* The process SAMPLE is of has just been found past a threshold; NULL: without memory. */
struct burner *blame_begin(struct blame *b, const struct sample *sample);
/* Its stacks are wanted as well, from now on; no more than once. */
void blame_sample_stacks(struct blame *b, struct burner *burner, const struct sample *sample);
void blame_end(struct blame *b, struct burner *burner); /* NULL-safe */

/* Adds to TRIGGER (see threshold_put_shares()) who used what since the beginning, up to SAMPLE.
 * *TID is who used most of it, 0 where that cannot be told. 0 or -errno. */
int blame_name(const struct blame *b, const struct burner *burner, const struct sample *sample,
	json_t *trigger, pid_t *tid);
/* Borrowed; NULL: none were wanted. */
struct profiling *blame_stacks(const struct burner *burner);
