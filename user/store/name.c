/* SPDX-License-Identifier: MIT */
#include "store/name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/text.h"

/* Digits ('0'), hexadecimal digits ('x') and themselves. */
#define TIME_FORM "00000000T000000Z-"
#define SALT_FORM "-xxxx"

void store_name_format(const struct store_name *name, uint16_t salt, char id[STORE_ID_MAX])
{
	time_t seconds = (time_t)(name->realtime_ns / NSEC_PER_SEC);
	char comm[33], trigger[33], when[sizeof(TIME_FORM)];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	text_filename(name->comm, comm, sizeof(comm));
	text_filename(name->trigger, trigger, sizeof(trigger));
	snprintf(id, STORE_ID_MAX, "%s-%s-%d-%s-%04x", when, comm, name->pid, trigger, salt);
}

static bool has_form(const char *s, const char *form)
{
	for (; *form; s++, form++) {
		unsigned char c = (unsigned char)*s;

		if (*form == '0'       ? !isdigit(c)
			: *form == 'x' ? !isxdigit(c) || isupper(c)
				       : *s != *form)
			return false;
	}
	return true;
}

bool store_name_valid(const char *id)
{
	size_t len = strlen(id);

	if (len < sizeof(TIME_FORM) + sizeof(SALT_FORM) || len >= STORE_ID_MAX)
		return false;
	for (const char *c = id + strlen(TIME_FORM); *c; c++)
		if (!islower(*c) && !isdigit(*c) && !strchr("._-", *c))
			return false;
	return has_form(id, TIME_FORM) && has_form(id + len - strlen(SALT_FORM), SALT_FORM);
}

void store_name_temporary(const char *id, char out[STORE_TEMPORARY_MAX])
{
	snprintf(out, STORE_TEMPORARY_MAX, "%s%s", STORE_TEMPORARY, id);
}

bool store_name_is_temporary(const char *name)
{
	const size_t prefix = strlen(STORE_TEMPORARY);

	return strncmp(name, STORE_TEMPORARY, prefix) == 0 && store_name_valid(name + prefix);
}

const char *store_name_comm(const char *id, size_t *length)
{
	const char *comm = id + strlen(TIME_FORM), *end = id + strlen(id);

	for (int part = 0; part < 3 && end > comm; part++)
		for (end--; end > comm && *end != '-';)
			end--;
	*length = (size_t)(end - comm);
	return comm;
}
