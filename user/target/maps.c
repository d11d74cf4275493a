/* SPDX-License-Identifier: MIT */
#include "target/maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "target/memory.h"

/* Far above a million mappings in smaps' long form; only there so that a broken /proc cannot eat
 * all memory. */
#define TEXT_MAX (1UL << 31)

/* A line of the text, taken apart from the left. */
struct cursor {
	const char *at, *end;
};

static bool take_char(struct cursor *c, char want)
{
	if (c->at == c->end || *c->at != want)
		return false;
	c->at++;
	return true;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 16;
}

static bool take_number(struct cursor *c, unsigned int base, uint64_t *out)
{
	const char *first = c->at;
	uint64_t v = 0;

	while (c->at < c->end && digit_value(*c->at) < (int)base) {
		if (__builtin_mul_overflow(v, base, &v) ||
			__builtin_add_overflow(v, (uint64_t)digit_value(*c->at), &v))
			return false;
		c->at++;
	}
	*out = v;
	return c->at > first;
}

static bool take_permissions(struct cursor *c, struct mapping *m)
{
	static const char letters[] = "rwx";
	static const unsigned int bits[] = {PROT_READ, PROT_WRITE, PROT_EXEC};

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		if (take_char(c, letters[i]))
			m->prot |= bits[i];
		else if (!take_char(c, '-'))
			return false;
	}
	if (take_char(c, 's'))
		m->flags |= MAPPING_SHARED;
	else if (!take_char(c, 'p'))
		return false;
	return true;
}

/* The kernel writes a newline in a path as \012 and leaves everything else, a backslash too, as it
 * is. */
static char *unescape(const char *s, size_t len)
{
	char *out = malloc(len + 1);
	size_t n = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (len - i >= 4 && memcmp(s + i, "\\012", 4) == 0) {
			out[n++] = '\n';
			i += 3;
		} else {
			out[n++] = s[i];
		}
	}
	out[n] = '\0';
	return out;
}

static int take_name(struct cursor *c, struct mapping *m)
{
	static const char suffix[] = " (deleted)";
	const size_t suffix_len = sizeof(suffix) - 1;
	size_t len;

	while (take_char(c, ' '))
		;
	len = (size_t)(c->end - c->at);
	if (memchr(c->at, '\0', len))
		return -EINVAL;
	if (mapping_has_file(m) && len >= suffix_len &&
		memcmp(c->end - suffix_len, suffix, suffix_len) == 0) {
		m->deleted = true;
		len -= suffix_len;
	}
	m->name = unescape(c->at, len);
	if (!m->name)
		return -ENOMEM;
	if (m->deleted && strcmp(m->name, "/secretmem") == 0)
		m->flags |= MAPPING_SECRET;
	return 0;
}

static int parse_mapping(struct cursor c, struct mapping *m)
{
	uint64_t major, minor;

	if (!take_number(&c, 16, &m->start) || !take_char(&c, '-') ||
		!take_number(&c, 16, &m->end) || !take_char(&c, ' ') || !take_permissions(&c, m) ||
		!take_char(&c, ' ') || !take_number(&c, 16, &m->offset) || !take_char(&c, ' ') ||
		!take_number(&c, 16, &major) || !take_char(&c, ':') ||
		!take_number(&c, 16, &minor) || !take_char(&c, ' ') ||
		!take_number(&c, 10, &m->inode))
		return -EINVAL;
	if (m->start >= m->end || m->start % MEMORY_PAGE || m->end % MEMORY_PAGE)
		return -EINVAL;
	if (c.at < c.end && *c.at != ' ')
		return -EINVAL;
	m->major = (uint32_t)major;
	m->minor = (uint32_t)minor;
	return take_name(&c, m);
}

static int append(struct maps *maps, size_t *room, struct cursor line)
{
	struct mapping m = {0};
	int r;

	if (maps->n == *room) {
		size_t want = *room ? *room * 2 : 64;
		struct mapping *v = reallocarray(maps->v, want, sizeof(*v));

		if (!v)
			return -ENOMEM;
		maps->v = v;
		*room = want;
	}
	r = parse_mapping(line, &m);
	if (r < 0)
		return r;
	if (maps->n && m.start < maps->v[maps->n - 1].end) {
		free(m.name);
		return -EINVAL;
	}
	maps->v[maps->n++] = m;
	return 0;
}

static void parse_vm_flags(struct cursor c, struct mapping *m)
{
	static const struct {
		char name[3];
		unsigned int flag;
	} known[] = {
		{"dd", MAPPING_DONTDUMP},
		{"io", MAPPING_IO},
		{"pf", MAPPING_IO},
		{"ht", MAPPING_HUGETLB},
		{"dc", MAPPING_DONTFORK},
		{"wf", MAPPING_WIPEONFORK},
		{"ss", MAPPING_SHADOW_STACK},
	};

	while (c.at < c.end) {
		while (take_char(&c, ' '))
			;
		if (c.end - c.at < 2)
			return;
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			if (memcmp(c.at, known[i].name, 2) == 0)
				m->flags |= known[i].flag;
		c.at += 2;
	}
}

static bool take_text(struct cursor *c, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(c->end - c->at) < len || memcmp(c->at, text, len) != 0)
		return false;
	c->at += len;
	return true;
}

/* A line of smaps below a mapping's own: "Anonymous:  12 kB", "VmFlags: rd wr". */
static int parse_attribute(struct cursor c, struct mapping *m)
{
	uint64_t kib;

	if (take_text(&c, "VmFlags:")) {
		parse_vm_flags(c, m);
		return 0;
	}
	/* A written page that was swapped out is no longer counted as anonymous, but it is as much
	 * the process' own. */
	if (!take_text(&c, "Anonymous:") && !take_text(&c, "Swap:"))
		return 0;
	while (take_char(&c, ' '))
		;
	if (!take_number(&c, 10, &kib) || kib > UINT64_MAX / 2048)
		return -EINVAL;
	return __builtin_add_overflow(m->anonymous, kib * 1024, &m->anonymous) ? -EINVAL : 0;
}

int maps_parse(const char *text, size_t len, struct maps *out)
{
	_cleanup_maps_ struct maps maps = {0};
	const char *at = text, *end = text + len;
	size_t room = 0;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		struct cursor line = {.at = at, .end = newline};
		int r;

		if (!newline)
			return -EINVAL;
		/* Addresses are in lower case, names of attributes begin in upper case. */
		if (*at >= 'A' && *at <= 'Z')
			r = maps.n ? parse_attribute(line, &maps.v[maps.n - 1]) : -EINVAL;
		else
			r = append(&maps, &room, line);
		if (r < 0)
			return r;
		at = newline + 1;
	}
	*out = maps;
	maps = (struct maps){0};
	return 0;
}

int maps_read(int taskfd, bool with_flags, struct maps *out)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = io_read_file_at(taskfd, with_flags ? "smaps" : "maps", TEXT_MAX, &text, &len);
	if (r < 0)
		return r;
	return maps_parse(text, len, out);
}

void maps_free(struct maps *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->v[i].name);
	free(m->v);
	*m = (struct maps){0};
}

const struct mapping *maps_find(const struct maps *m, uint64_t address)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (address < m->v[middle].start)
			high = middle;
		else if (address >= m->v[middle].end)
			low = middle + 1;
		else
			return &m->v[middle];
	}
	return NULL;
}
