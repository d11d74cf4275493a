/* SPDX-License-Identifier: MIT */
/* Whether the programs of request.bpf.c find what lies in the kernel's pages. Where these are is
 * known to no interface: so it is tried. */
#pragma once

#include <abi.h>
#include <stdbool.h>

#include "request.skel.h"

/* Once the programs are loaded; they know from then on what plain sockets of TCP are. False: they
 * do not find it, or it cannot be tried here (a network namespace whose loopback is down). */
bool request_pages_check(struct request_bpf *s);
