/* SPDX-License-Identifier: MIT */
#include "target/sdt.h"

#include <errno.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

#define NOTE_TYPE 3 /* of stapsdt */

/* The names of the general registers by their size, and which word of user_regs_struct they are. */
static const struct {
	const char *names[4];
	uint8_t word;
} registers[] = {
	{{"rax", "eax", "ax", "al"}, 10},
	{{"rbx", "ebx", "bx", "bl"}, 5},
	{{"rcx", "ecx", "cx", "cl"}, 11},
	{{"rdx", "edx", "dx", "dl"}, 12},
	{{"rsi", "esi", "si", "sil"}, 13},
	{{"rdi", "edi", "di", "dil"}, 14},
	{{"rbp", "ebp", "bp", "bpl"}, 4},
	{{"rsp", "esp", "sp", "spl"}, 19},
	{{"r8", "r8d", "r8w", "r8b"}, 9},
	{{"r9", "r9d", "r9w", "r9b"}, 8},
	{{"r10", "r10d", "r10w", "r10b"}, 7},
	{{"r11", "r11d", "r11w", "r11b"}, 6},
	{{"r12", "r12d", "r12w", "r12b"}, 3},
	{{"r13", "r13d", "r13w", "r13b"}, 2},
	{{"r14", "r14d", "r14w", "r14b"}, 1},
	{{"r15", "r15d", "r15w", "r15b"}, 0},
};

static int parse_register(const char *s, size_t length, uint8_t *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		for (size_t k = 0; k < ARRAY_SIZE(registers[i].names); k++) {
			const char *name = registers[i].names[k];

			if (strlen(name) == length && strncmp(s, name, length) == 0) {
				*word = registers[i].word;
				return 0;
			}
		}
	return -EOPNOTSUPP;
}

static int parse_number(const char *s, const char *end, int64_t *out)
{
	char *stop;

	errno = 0;
	*out = strtoll(s, &stop, 0);
	return errno == 0 && stop == end && stop != s ? 0 : -EOPNOTSUPP;
}

/* "$5", "%rdi", "-20(%rbp)", "(%rax)". With an index, or by a symbol, is not supported. */
static int parse_operand(const char *s, const char *end, struct sdt_argument *out)
{
	const char *open = memchr(s, '(', (size_t)(end - s));

	if (*s == '$') {
		out->kind = SDT_CONSTANT;
		return parse_number(s + 1, end, &out->value);
	}
	if (*s == '%') {
		out->kind = SDT_REGISTER;
		return parse_register(s + 1, (size_t)(end - s - 1), &out->reg);
	}
	if (!open || end - open < 4 || open[1] != '%' || end[-1] != ')')
		return -EOPNOTSUPP;
	out->kind = SDT_MEMORY;
	if (open != s && parse_number(s, open, &out->value) < 0)
		return -EOPNOTSUPP;
	return parse_register(open + 2, (size_t)(end - open - 3), &out->reg);
}

static int parse_one(const char *s, const char *end, struct sdt_argument *out)
{
	*out = (struct sdt_argument){};
	if (*s == '-') {
		out->is_signed = 1;
		s++;
	}
	/* "8f@%xmm0" is a floating point number. */
	if (end - s < 3 || !strchr("1248", *s) || s[1] != '@')
		return -EOPNOTSUPP;
	out->size = (uint8_t)(*s - '0');
	return parse_operand(s + 2, end, out);
}

int sdt_parse_argument(const char *text, unsigned int number, struct sdt_argument *out)
{
	for (unsigned int i = 1;; i++) {
		const char *end;

		text += strspn(text, " ");
		end = text + strcspn(text, " ");
		if (end == text)
			return -ENOENT;
		if (i == number)
			return parse_one(text, end, out);
		text = end;
	}
}

struct search {
	Elf *elf;
	const char *provider, *name;
	unsigned int number;
	uint64_t base; /* of .stapsdt.base, 0: there is none */
	struct sdt_place *out;
	size_t max;
	int found;
};

/* Three addresses and three strings. Where the file was prelinked, all have moved with the base. */
static int take_note(struct search *s, const char *note, size_t size)
{
	const char *provider = note + 3 * sizeof(uint64_t), *end = note + size, *name, *arguments;
	uint64_t words[3];
	struct sdt_place place = {};
	int r;

	if (size < sizeof(words) + 3 || end[-1] != '\0')
		return 0;
	memcpy(words, note, sizeof(words));
	name = provider + strlen(provider) + 1;
	arguments = name < end ? name + strlen(name) + 1 : end;
	if (arguments >= end || strcmp(provider, s->provider) != 0 || strcmp(name, s->name) != 0)
		return 0;
	place.address = words[0] + (s->base ? s->base - words[1] : 0);
	place.semaphore = words[2] ? words[2] + (s->base ? s->base - words[1] : 0) : 0;
	r = s->number ? sdt_parse_argument(arguments, s->number, &place.argument) : 0;
	if (r < 0)
		return r == -ENOENT ? -EOPNOTSUPP : r;
	if ((size_t)s->found == s->max)
		return -E2BIG;
	s->out[s->found++] = place;
	return 0;
}

static int take_notes(struct search *s, Elf_Scn *scn)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t at = 0, name, desc;
	GElf_Nhdr nh;

	while (data && (at = gelf_getnote(data, at, &nh, &name, &desc)) > 0) {
		const char *bytes = data->d_buf;
		int r;

		if (nh.n_type != NOTE_TYPE || nh.n_namesz != sizeof("stapsdt") ||
			memcmp(bytes + name, "stapsdt", sizeof("stapsdt")) != 0)
			continue;
		r = take_note(s, bytes + desc, nh.n_descsz);
		if (r < 0)
			return r;
	}
	return 0;
}

static void find_base(struct search *s, size_t names)
{
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(s->elf, scn)) != NULL) {
		GElf_Shdr sh;
		const char *name;

		if (!gelf_getshdr(scn, &sh))
			continue;
		name = elf_strptr(s->elf, names, sh.sh_name);
		if (name && strcmp(name, ".stapsdt.base") == 0)
			s->base = sh.sh_addr;
	}
}

int sdt_find(Elf *elf, const char *provider, const char *name, unsigned int number,
	struct sdt_place *out, size_t max)
{
	struct search s = {.elf = elf,
		.provider = provider,
		.name = name,
		.number = number,
		.out = out,
		.max = max};
	Elf_Scn *scn = NULL;
	size_t names;

	if (elf_getshdrstrndx(elf, &names) == 0)
		find_base(&s, names);
	while ((scn = elf_nextscn(elf, scn)) != NULL) {
		GElf_Shdr sh;
		int r = 0;

		if (gelf_getshdr(scn, &sh) && sh.sh_type == SHT_NOTE)
			r = take_notes(&s, scn);
		if (r < 0)
			return r;
	}
	return s.found ? s.found : -ENOENT;
}
