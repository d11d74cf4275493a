/* SPDX-License-Identifier: MIT */
#include "lib/text.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"

/* Length of the well-formed UTF-8 sequence at S (RFC 3629), 0 if there is none; *cp is its code
 * point. */
static size_t utf8_sequence(const unsigned char *s, size_t len, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t need = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;

	if (need == 1) {
		*cp = s[0];
		return 1;
	}
	if ((s[0] & 0xc0) == 0x80 || s[0] > 0xf4 || need > len)
		return 0;
	*cp = s[0] & (0x7f >> need);
	for (size_t i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (s[i] & 0x3f);
	}
	if (*cp < least[need] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
		return 0;
	return need;
}

/* Characters that change how the text around them is shown. */
static bool deceives(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x200b && cp <= 0x200f) ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x2069) || cp == 0xfeff ||
	       (cp >= 0xfff9 && cp <= 0xfffb) || (cp >= 0xe0000 && cp <= 0xe007f);
}

static char *escape(const char *s, size_t len, size_t max, bool printable)
{
	static const char ellipsis[] = "…";
	size_t used = 0, kept = len < max ? len : max;
	char *out = malloc(kept * 4 + sizeof(ellipsis));

	if (!out)
		return NULL;
	for (size_t i = 0; i < kept;) {
		uint32_t cp = 0;
		size_t n = utf8_sequence((const unsigned char *)s + i, kept - i, &cp);

		if (n == 0 && kept < len && kept - i < 4)
			break; /* a character that the bound cut in two */
		if (printable && cp == '\\' && n == 1) {
			out[used++] = '\\';
			out[used++] = '\\';
		} else if (n == 0 || cp == 0 || (printable && deceives(cp))) {
			n = n ? n : 1;
			for (size_t k = 0; k < n; k++)
				used += (size_t)sprintf(
					out + used, "\\x%02x", (unsigned char)s[i + k]);
		} else {
			memcpy(out + used, s + i, n);
			used += n;
		}
		i += n;
	}
	if (kept < len) {
		memcpy(out + used, ellipsis, sizeof(ellipsis) - 1);
		used += sizeof(ellipsis) - 1;
	}
	out[used] = '\0';
	return out;
}

char *text_printable(const char *s, size_t len, size_t max)
{
	return escape(s, len, max, true);
}

char *text_utf8(const char *s, size_t len, size_t max)
{
	return escape(s, len, max, false);
}

void text_filename(const char *s, char *out, size_t size)
{
	size_t n = 0;

	for (; s[n] && n + 1 < size; n++) {
		unsigned char c = (unsigned char)s[n];

		out[n] = (isascii(c) && isalnum(c)) || c == '-' || c == '_' || (c == '.' && n)
				 ? (char)tolower(c)
				 : '_';
	}
	if (n == 0 && size > 1)
		out[n++] = '_';
	out[n] = '\0';
}

bool text_glob(const char *pattern, const char *s)
{
	return fnmatch(pattern, s, 0) == 0;
}

int text_parse_u64(const char *s, uint64_t *out)
{
	char *end;
	unsigned long long v;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno == ERANGE)
		return -ERANGE;
	*out = v;
	return 0;
}

/* A decimal number and where its unit begins. Exact to a millionth, which no unit here exceeds. */
static int parse_decimal(const char *s, uint64_t *whole, uint64_t *millionths, const char **unit)
{
	char *end;
	uint64_t scale = 100000;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	*whole = strtoull(s, &end, 10);
	if (errno == ERANGE)
		return -ERANGE;
	*millionths = 0;
	if (*end == '.') {
		end++;
		if (!isdigit((unsigned char)*end))
			return -EINVAL;
		for (; isdigit((unsigned char)*end); end++, scale /= 10)
			*millionths += (uint64_t)(*end - '0') * scale;
	}
	*unit = end;
	return 0;
}

static int scale_decimal(uint64_t whole, uint64_t millionths, uint64_t factor, uint64_t *out)
{
	uint64_t product, rest = (uint64_t)((unsigned __int128)millionths * factor / 1000000);

	if (__builtin_mul_overflow(whole, factor, &product) ||
		__builtin_add_overflow(product, rest, &product))
		return -ERANGE;
	*out = product;
	return 0;
}

int text_parse_size(const char *s, uint64_t *out)
{
	static const char letters[] = "KMGT";
	uint64_t whole, millionths, factor = 1;
	const char *unit, *letter;
	int r = parse_decimal(s, &whole, &millionths, &unit);

	if (r < 0)
		return r;
	letter = *unit ? strchr(letters, toupper((unsigned char)*unit)) : NULL;
	if (letter) {
		factor = 1ULL << (10 * (letter - letters + 1));
		unit++;
		if (strcmp(unit, "iB") == 0)
			unit += 2;
	}
	if (strcmp(unit, "B") == 0)
		unit++;
	if (*unit)
		return -EINVAL;
	return scale_decimal(whole, millionths, factor, out);
}

int text_parse_duration(const char *s, uint64_t *out_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{"", NSEC_PER_SEC},
		{"s", NSEC_PER_SEC},
		{"ms", NSEC_PER_MSEC},
		{"us", 1000},
		{"ns", 1},
		{"m", 60 * NSEC_PER_SEC},
		{"h", 3600 * NSEC_PER_SEC},
		{"d", 86400 * NSEC_PER_SEC},
	};
	uint64_t whole, millionths;
	const char *unit;
	int r = parse_decimal(s, &whole, &millionths, &unit);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(unit, units[i].name) == 0)
			return scale_decimal(whole, millionths, units[i].ns, out_ns);
	return -EINVAL;
}

int text_parse_percent(const char *s, uint64_t *out_thousandths)
{
	uint64_t whole, millionths;
	const char *unit;
	int r = parse_decimal(s, &whole, &millionths, &unit);

	if (r < 0)
		return r;
	if (strcmp(unit, "") != 0 && strcmp(unit, "%") != 0)
		return -EINVAL;
	return scale_decimal(whole, millionths, 1000, out_thousandths);
}

const char *text_format_size(uint64_t bytes, char *buf, size_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1024 && u + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		u++;
	}
	if (u == 0)
		snprintf(buf, size, "%" PRIu64 " B", bytes);
	else
		snprintf(buf, size, v < 10 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}
