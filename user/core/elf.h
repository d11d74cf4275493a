/* SPDX-License-Identifier: MIT */
/* The head of the core: ELF header, program headers, notes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "capture/notes.h"
#include "core/plan.h"

struct elf_head {
	void *data;  /* owned */
	size_t size; /* bytes, a multiple of the page size: the memory follows */
};

/* Builds the head for NOTES, then the incident's JSON (INCIDENT_SIZE 0: none), and PLAN, whose
 * offsets it sets. *core_size: of the whole file. 0, -ENOMEM, or -EFBIG when the core would be
 * larger than any file. */
int elf_build_head(const struct notes *notes, const char *incident, size_t incident_size,
	struct plan *plan, struct elf_head *out, uint64_t *core_size);
void elf_head_free(struct elf_head *h);
#define _cleanup_elf_head_ __attribute__((cleanup(elf_head_free)))
