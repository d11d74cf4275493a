/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/inside_parts.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "rules/function.h"
#include "target/code.h"
#include "target/places.h"
#include "target/sdt.h"

#define START 0x1000

static int find(const uint8_t *bytes, size_t size, struct code_exit *out)
{
	const struct code_range range = {.start = START, .size = size, .bytes = bytes};
	static struct code_exit exits[CODE_EXITS_MAX];
	int n = code_find_exits(&range, 1, exits);

	if (n > 0)
		memcpy(out, exits, (size_t)n * sizeof(*out));
	return n;
}

Test(code, finds_returns_and_jumps_that_leave)
{
	const uint8_t bytes[] = {0x48, 0x85, 0xff,  /* test %rdi,%rdi */
		0x78, 0x06,			    /* js +6: to the last ret */
		0xf3, 0xc3,			    /* rep ret */
		0x0f, 0x84, 0x00, 0x01, 0x00, 0x00, /* je out of it: its offset is cut below */
		0xc3};
	struct code_exit exits[8];

	/* js leads to 0x100b, into the midst of the je: the sweep is out of step. */
	cr_assert_eq(find(bytes, sizeof(bytes), exits), -EILSEQ);
	{
		uint8_t right[sizeof(bytes)];

		memcpy(right, bytes, sizeof(bytes));
		right[4] = 8; /* to 0x100d */
		cr_assert_eq(find(right, sizeof(right), exits), 3);
	}
	cr_assert(exits[0].address == START + 5 && !exits[0].conditional);
	cr_assert(exits[1].address == START + 7 && exits[1].conditional && exits[1].condition == 4);
	cr_assert(exits[2].address == START + 13 && !exits[2].conditional);
}

Test(code, takes_computed_jumps_but_not_those_through_a_table)
{
	const uint8_t bytes[] = {0xff, 0xe0,		  /* jmp *%rax */
		0x3e, 0xff, 0xe0,			  /* notrack jmp *%rax */
		0xff, 0x24, 0xc5, 0x00, 0x20, 0x00, 0x00, /* jmp *0x2000(,%rax,8) */
		0xff, 0x25, 0x00, 0x10, 0x00, 0x00,	  /* jmp *0x1000(%rip) */
		0xe9, 0x00, 0x10, 0x00, 0x00,		  /* jmp out of it */
		0xeb, 0xfe};				  /* jmp to itself */
	struct code_exit exits[8];

	cr_assert_eq(find(bytes, sizeof(bytes), exits), 3);
	cr_assert_eq(exits[0].address, START);
	cr_assert_eq(exits[1].address, START + 12);
	cr_assert_eq(exits[2].address, START + 18);
}

Test(code, a_part_that_was_split_off_belongs_to_it)
{
	const uint8_t hot[] = {0x0f, 0x85, 0xfa, 0x0f, 0x00, 0x00, /* jne 0x2000 */ 0xc3},
		      cold[] = {0xe9, 0x01, 0xf0, 0xff, 0xff /* jmp 0x1006 */};
	const struct code_range ranges[] = {{.start = 0x1000, .size = sizeof(hot), .bytes = hot},
		{.start = 0x2000, .size = sizeof(cold), .bytes = cold}};
	static struct code_exit exits[CODE_EXITS_MAX];

	cr_assert_eq(code_find_exits(ranges, 2, exits), 1);
	cr_assert_eq(exits[0].address, 0x1006);
	cr_assert_eq(code_find_exits(ranges, 1, exits), 2); /* alone, it jumps out */
}

Test(code, tells_what_never_returns_and_what_is_no_code)
{
	const uint8_t endless[] = {0xeb, 0xfe}, data[] = {0x06, 0x06};
	struct code_exit exits[8];

	cr_assert_eq(find(endless, sizeof(endless), exits), 0);
	cr_assert_eq(find(data, sizeof(data), exits), -EILSEQ);
}

Test(sdt, parses_the_arguments_of_probes)
{
	const char text[] = "8@%rdi -4@$-5 4@-20(%rbp) 1@%r8b 8f@%xmm0 8@(%rax,%rbx,8) 2@(%rsp)";
	struct sdt_argument a;

	cr_assert_eq(sdt_parse_argument(text, 1, &a), 0);
	cr_assert(a.kind == SDT_REGISTER && a.size == 8 && !a.is_signed && a.reg == 14);
	cr_assert_eq(sdt_parse_argument(text, 2, &a), 0);
	cr_assert(a.kind == SDT_CONSTANT && a.size == 4 && a.is_signed && a.value == -5);
	cr_assert_eq(sdt_parse_argument(text, 3, &a), 0);
	cr_assert(a.kind == SDT_MEMORY && a.size == 4 && a.value == -20 && a.reg == 4);
	cr_assert_eq(sdt_parse_argument(text, 4, &a), 0);
	cr_assert(a.kind == SDT_REGISTER && a.size == 1 && a.reg == 9);
	cr_assert_eq(sdt_parse_argument(text, 5, &a), -EOPNOTSUPP);
	cr_assert_eq(sdt_parse_argument(text, 6, &a), -EOPNOTSUPP);
	cr_assert_eq(sdt_parse_argument(text, 7, &a), 0);
	cr_assert(a.kind == SDT_MEMORY && a.size == 2 && a.value == 0 && a.reg == 19);
	cr_assert_eq(sdt_parse_argument(text, 8, &a), -ENOENT);
	cr_assert_eq(sdt_parse_argument("", 1, &a), -ENOENT);
}

static struct function_wish parse(const char *text)
{
	struct function_wish w = {};

	cr_assert_eq(function_parse(text, strlen(text), &w), 0, "%s", text);
	cr_assert_str_eq(w.text, text);
	return w;
}

Test(function, means_a_file_by_its_path_or_the_end_of_it)
{
	static const struct {
		const char *text, *path;
		bool is;
	} cases[] = {
		{"libc.so.6:f", "/usr/lib/libc.so.6", true},
		{"libc.so.6:f", "/usr/lib/notlibc.so.6", false},
		{"libc.so.6:f", "/usr/lib/libc.so.6.old", false},
		{"lib/libc.so.6:f", "/usr/lib/libc.so.6", true},
		{"/lib/libc.so.6:f", "/usr/lib/libc.so.6", false},
		{"/usr/lib/libc.so.6:f", "/usr/lib/libc.so.6", true},
		{"./server:f", "/srv/server", true},
		{":f", "/bin/x", true},
		{":f", "/usr/lib/libc.so.6", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(function_wish_free) struct function_wish w = parse(cases[i].text);

		cr_expect_eq(function_means(&w, cases[i].path, "/bin/x"), cases[i].is, "%s %s",
			cases[i].text, cases[i].path);
	}
}

Test(function, takes_a_pair_of_probes_apart)
{
	_cleanup_(function_wish_free) struct function_wish w = parse("usdt:libx.so:p:a__b,c@2"),
							   go = parse(":main.(*T).Do");

	cr_assert_str_eq(w.file, "libx.so");
	cr_assert_str_eq(w.provider, "p");
	cr_assert_str_eq(w.name, "a__b");
	cr_assert_str_eq(w.end, "c");
	cr_assert_eq(w.argument, 2);
	cr_assert(!go.provider && !*go.file);
	cr_assert_str_eq(go.name, "main.(*T).Do");
}

Test(function, a_call_is_due_once)
{
	const uint64_t second = NSEC_PER_SEC;

	cr_assert_not(function_is_due(second, 10 * second, 0, 11 * second - 1));
	cr_assert(function_is_due(second, 10 * second, 0, 11 * second));
	cr_assert(function_is_due(second, 10 * second, 11 * second - 1, 11 * second));
	cr_assert_not(function_is_due(second, 10 * second, 11 * second, 12 * second));
	cr_assert_not(function_is_due(second, 10 * second, 0, 9 * second)); /* began meanwhile */
	cr_assert_eq(function_interval_ns(20 * NSEC_PER_MSEC), 10 * NSEC_PER_MSEC);
	cr_assert_eq(function_interval_ns(second), 100 * NSEC_PER_MSEC);
	cr_assert_eq(function_interval_ns(60 * second), 250 * NSEC_PER_MSEC);
}

Test(found, a_file_is_read_once_also_when_it_is_refused)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct inside_looks looks = {.begun_ns = clock_now_ns(CLOCK_BOOTTIME)};
	struct function_wish good = {.name = (char[]){"function_means"}},
			     bad = {.name = (char[]){"function_mean"}};
	const struct places *p;
	struct place first;
	uint64_t read_ns;

	cr_assert_eq(inside_find_places(&looks, &good, fd, true, &p), 0, "%s", p->why);
	first = p->v[0];
	cr_assert_eq(inside_find_places(&looks, &bad, fd, true, &p), -ENOENT);
	read_ns = looks.read_ns;
	cr_assert_gt(read_ns, 0);
	looks.read_ns += UINT64_MAX / 2; /* more than its share */
	cr_assert_eq(inside_find_places(&looks, &bad, fd, false, &p), -ENOENT);
	cr_assert(strstr(p->why, "has no function function_mean"), "%s", p->why);
	cr_assert_eq(inside_find_places(&looks, &good, fd, false, &p), 0);
	cr_assert(p->n >= 2 && place_is_equal(&p->v[0], &first));
	cr_assert_eq(looks.read_ns, read_ns + UINT64_MAX / 2);
	bad.name[0] = 'F';
	inside_looks_free(&looks);
	cr_assert_eq(inside_find_places(&looks, &bad, fd, false, &p), -EAGAIN);
	cr_assert_eq(inside_find_places(&looks, &bad, fd, true, &p), -ENOENT);
	inside_looks_free(&looks);
}

Test(found, files_get_a_tenth_of_the_time)
{
	const uint64_t second = NSEC_PER_SEC;

	cr_assert(inside_may_read(50 * second, 0, 50 * second));
	cr_assert(!inside_may_read(50 * second, second, 50 * second));
	cr_assert(inside_may_read(50 * second, second, 50 * second + 10));
	cr_assert(inside_may_read(50 * second, 10 * second, 141 * second));
	cr_assert(!inside_may_read(50 * second, 10 * second, 140 * second));
}

/* What is asked of this very program. */
static int find_in(int fd, const char *name, struct places *out)
{
	return places_find(
		&(struct places_wish){.fd = fd, .name = name, .timeout_ms = PLACES_PATIENT_MS},
		out);
}

Test(places, finds_a_function_of_this_program)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct places p;
	unsigned int entries = 0, exits = 0;
	uint8_t ret;

	cr_assert_eq(find_in(fd, "function_means", &p), 0, "%s", p.why);
	for (uint32_t i = 0; i < p.n; i++) {
		entries += p.v[i].kind == PLACE_ENTRY;
		exits += p.v[i].kind == PLACE_EXIT;
		if (p.v[i].kind == PLACE_EXIT && pread(fd, &ret, 1, (off_t)p.v[i].offset) == 1)
			cr_expect(ret == 0xc3 || ret == 0xe9 || ret == 0xff || ret == 0xf3,
				"0x%x is no way out", ret);
	}
	cr_assert(entries == 1 && exits >= 1 && p.v[0].kind == PLACE_ENTRY);
}

Test(places, says_what_is_wrong)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
			    text = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct places p;

	cr_assert_eq(find_in(fd, "function_mean", &p), -ENOENT);
	cr_assert(strstr(p.why, "has no function function_mean (it has function_means)"), "%s",
		p.why);
	cr_assert_eq(find_in(text, "x", &p), -ENOEXEC);
	cr_assert(p.why[0] && !strchr(p.why, '\n'));
	cr_assert_eq(places_find(&(struct places_wish){.fd = fd,
					 .provider = "nobody",
					 .name = "begin",
					 .end = "end",
					 .timeout_ms = PLACES_PATIENT_MS},
			     &p),
		-ENOENT);
}

/* A file that says anything of itself: refused, or found to be in order, in the child that reads
 * it. */
Test(places, reads_no_file_out_of_its_bounds)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
			    copy = memfd_create("copy", MFD_CLOEXEC);
	static uint8_t bytes[1 << 20];
	ssize_t size = pread(fd, bytes, sizeof(bytes), 0);
	struct places p;

	cr_assert_gt(size, 4096);
	for (size_t cut = 64; cut < (size_t)size; cut = cut * 3 + 7) {
		cr_assert_eq(ftruncate(copy, 0), 0);
		cr_assert_eq(pwrite(copy, bytes, cut, 0), (ssize_t)cut);
		cr_expect_lt(find_in(copy, "main", &p), 0);
	}
	for (size_t at = 16; at < 64; at += 4) { /* each word of the header */
		cr_assert_eq(ftruncate(copy, 0), 0);
		cr_assert_eq(pwrite(copy, bytes, (size_t)size, 0), size);
		cr_assert_eq(pwrite(copy, "\xff\xff\xff\x7f", 4, (off_t)at), 4);
		find_in(copy, "main", &p);
		cr_expect(p.error <= 0 && p.n <= PLACES_MAX);
	}
}
