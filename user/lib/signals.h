/* SPDX-License-Identifier: MIT */
/* Signal names and masks. A mask's bit N-1 is signal N, as in the kernel's sigset, for 1..64. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SIGNAL_BIT(sig) (1ULL << ((sig)-1))

/* Signals whose default action is a core dump (include/linux/signal.h, SIG_KERNEL_COREDUMP_MASK).
 */
uint64_t signals_core_mask(void);

/* "SIGSEGV", "SIGRTMIN+3" (kernel numbering from 34), into BUF, which is returned. */
const char *signals_name(int sig, char *buf, size_t size);

/* "SEGV", "SIGSEGV", "11", "RTMIN+3" → number; -EINVAL for anything else. */
int signals_parse(const char *s);

/* "SEGV_MAPERR", "SI_TKILL" …, or NULL for a code this table does not know. */
const char *signals_code_name(int sig, int code);
