/* SPDX-License-Identifier: MIT */
/* Whether the programs of request.bpf.c find what lies in the kernel's pages. Where these are is
 * known to no interface: so it is tried. */
#pragma once

#include <abi.h>

#include "request.skel.h"

/* Once the programs are loaded: 1, 0: they do not, or it cannot be tried here (a network namespace
 * whose loopback is down), -errno. */
int request_pages_check(struct request_bpf *s);
