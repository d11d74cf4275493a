/* SPDX-License-Identifier: MIT */
/* The files of a configuration: one, and what lies in conf.d beside it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "config/problems.h"

#define CONFIG_FILE_MAX	 (1024 * 1024) /* bytes */
#define CONFIG_FILES_MAX 256

struct config_file {
	char *name; /* the path as messages show it */
	char *text; /* NULL: could not be read, and a problem says why */
	size_t len;
};

struct config_files {
	struct config_file *v; /* PATH first, then conf.d's in the order of their names */
	size_t n;
};

void config_files_free(struct config_files *f);
#define _cleanup_config_files_ __attribute__((cleanup(config_files_free)))

/* Reads PATH, and *.yaml in the directory conf.d beside it. What cannot be read, is too large, or
 * could have been written by somebody else than root (where root reads it) is a problem. 0 or
 * -ENOMEM; *OUT, which was zero, is to be freed in any case. */
int config_files_read(const char *path, struct config_files *out, struct config_problems *problems);

/* Why READER must not trust what ST describes: others can change it. NULL: it may. Pure. */
const char *config_distrust(const struct stat *st, uid_t reader);
