/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "target/wait.h"
#include "target/wait_site.h"

Test(wait, says_where_a_thread_stands)
{
	struct thread_wait w;

	cr_assert_eq(wait_parse("232 0x5 0x7ffd 0x1 0x14 0x0 0x0 0x7ffc10 0x43a4c3\n", &w), 0);
	cr_expect(!w.runs);
	cr_expect_eq(w.sp, 0x7ffc10);
	cr_expect_eq(w.pc, 0x43a4c3);
	cr_expect_eq(wait_loop_call(&w), LOOP_EPOLL);
	cr_assert_eq(wait_parse("-1 0x7ffc10 0x43a4c3\n", &w), 0);
	cr_expect(!w.runs);
	cr_expect_eq(w.pc, 0x43a4c3);
	cr_expect_eq(wait_loop_call(&w), LOOP_NONE);
	cr_assert_eq(wait_parse("running\n", &w), 0);
	cr_expect(w.runs);
	cr_expect_eq(w.pc, 0);
}

Test(wait, who_polls_nothing_sleeps)
{
	static const struct {
		long call;
		uint64_t first, second;
		enum loop_call loop;
	} cases[] = {
		{SYS_poll, 0x7ffd, 2, LOOP_POLL},
		{SYS_poll, 0, 0, LOOP_NONE},
		{SYS_select, 3, 0x7ffd, LOOP_POLL},
		{SYS_select, 0, 0, LOOP_NONE},
		{SYS_epoll_pwait, 5, 0, LOOP_EPOLL},
		{SYS_read, 5, 0, LOOP_NONE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct thread_wait w = {
			.call = cases[i].call, .arguments = {cases[i].first, cases[i].second}};

		cr_expect_eq(wait_loop_call(&w), cases[i].loop, "%zu", i);
	}
}

Test(wait, status_tells_whether_it_moved)
{
	struct thread_status s;

	cr_assert_eq(wait_parse_status("Name:\tState:\tX\nUmask:\t0022\nState:\tt (tracing stop)\n"
				       "voluntary_ctxt_switches:\t42\n"
				       "nonvoluntary_ctxt_switches:\t7\n",
			     &s),
		0);
	cr_expect_eq(s.state, 't');
	cr_expect_eq(s.switches, 42);
	cr_expect_eq(wait_parse_status("Name:\tx\n", &s), -22);
	cr_expect_eq(wait_parse_status("", &s), -22);
}

#if defined(__x86_64__)
Test(wait, finds_the_other_call_of_a_function)
{
	static const uint8_t code[] = {0x90, 0xb8, 232, 0, 0, 0, 0x0f, 0x05, 0xc3, 0xb8, 233, 0, 0,
		0, 0x0f, 0x05, 0xb8, 232, 0, 0, 0, 0x0f, 0x05, 0xb8, 232};
	size_t out[4];

	cr_assert_eq(wait_sites_find(code, sizeof(code), 232, out, 4), 2);
	cr_expect_eq(out[0], 8);
	cr_expect_eq(out[1], 23);
	cr_expect_eq(wait_sites_find(code, sizeof(code), 232, out, 1), 1);
	cr_expect_eq(wait_sites_find(code, sizeof(code), 281, out, 4), 0);
	cr_expect_eq(wait_sites_find(code, 3, 232, out, 4), 0);
}

Test(wait, checks_that_a_place_is_behind_a_system_call)
{
	_cleanup_close_ int fd = memfd_create("code", MFD_CLOEXEC);

	cr_assert_eq(write(fd, "\x0f\x05\x0f\x90\x05", 5), 5);
	cr_expect_eq(wait_site_check(fd, 2), 0);
	for (uint64_t offset = 0; offset < 8; offset++)
		cr_expect(offset == 2 || wait_site_check(fd, offset) == -EBADMSG);
}
#endif

Test(wait, knows_a_place_by_the_file_that_is_mapped_there)
{
	static const char before[] = "7f00000000-7f00004000 r-xp 00002000 08:01 77 /lib/a.so\n",
			  *after[] = {"7f00000000-7f00004000 r-xp 00002000 08:01 78 /lib/b.so\n",
				  "7f00000000-7f00004000 r-xp 00002000 08:02 77 /lib/b.so\n",
				  "7f00000000-7f00004000 r-xp 00003000 08:01 77 /lib/a.so\n",
				  "7f00002000-7f00004000 r-xp 00000000 08:01 77 /lib/a.so\n", ""};
	_cleanup_maps_ struct maps maps = {};
	struct wait_site site, none;

	cr_assert_eq(maps_parse(before, strlen(before), &maps), 0);
	cr_expect_eq(wait_site_locate(&maps, 0x7f00004000, &none), -ENOENT);
	cr_assert_eq(wait_site_locate(&maps, 0x7f00001234, &site), 0);
	cr_expect_eq(site.offset, 0x3234);
	cr_expect(wait_site_holds(&maps, &site));
	for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
		_cleanup_maps_ struct maps others = {};

		cr_assert_eq(maps_parse(after[i], strlen(after[i]), &others), 0);
		cr_expect(!wait_site_holds(&others, &site), "%s", after[i]);
	}
}
