/* SPDX-License-Identifier: MIT */
/* Where libbpf's own words go: to the log, at level debug. */
#pragma once

/* To be called before anything of libbpf is; again does no harm. */
void bpf_log_start(void);
