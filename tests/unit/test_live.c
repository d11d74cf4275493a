/* SPDX-License-Identifier: MIT */
/* The pure parts of capturing a live process. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "capture/inject_site.h"
#include "capture/limits.h"
#include "capture/orphans.h"
#include "capture/preflight.h"
#include "capture/restart.h"
#include "capture/thread_state.h"
#include "cli/progress.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

static struct user_regs_struct broken(long nr)
{
	return (struct user_regs_struct){.orig_rax = (unsigned long long)nr,
		.rax = (unsigned long long)-EINTR,
		.rdi = 4,
		.rsi = 5,
		.rdx = 6,
		.r10 = 1000};
}

Test(live, broken_calls_start_again)
{
	struct user_regs_struct regs = broken(SYS_semtimedop);

	cr_assert(restart_fix(&regs, NULL, 1, 0));
	cr_assert_eq((int64_t)regs.rax, -514);
	/* Its descriptor is gone: it must not be closed again. */
	regs = broken(SYS_close);
	cr_assert_not(restart_fix(&regs, NULL, 1, 0));
	cr_assert_eq((int64_t)regs.rax, -EINTR);
	/* A result is a result, and a thread that computes has any value in its register. */
	regs = broken(SYS_epoll_wait);
	regs.rax = 3;
	cr_assert_not(restart_fix(&regs, NULL, 1, 0));
	regs = broken(-1);
	cr_assert_not(restart_fix(&regs, NULL, 1, 0));
}

Test(live, timeouts_in_registers_are_shortened)
{
	struct restart_look v[] = {{.tid = 7,
		.nr = SYS_epoll_wait,
		.args = {4, 5, 6, 1000},
		.began_ns = 5 * NSEC_PER_SEC}};
	const struct restart_looks looks = {.v = v, .n = 1};
	struct user_regs_struct regs = broken(SYS_epoll_wait);
	const uint64_t now = 5 * NSEC_PER_SEC + 600 * NSEC_PER_MSEC;

	cr_assert(restart_fix(&regs, &looks, 7, now));
	cr_assert_eq(regs.r10, 400);
	regs = broken(SYS_epoll_wait);
	cr_assert(restart_fix(&regs, &looks, 7, now + NSEC_PER_SEC));
	cr_assert_eq(regs.r10, 0, "slept longer than asked");
	regs = broken(SYS_epoll_wait);
	cr_assert(restart_fix(&regs, &looks, 8, now));
	cr_assert_eq(regs.r10, 1000, "another thread");
	regs = broken(SYS_epoll_wait);
	regs.rdi = 9;
	cr_assert(restart_fix(&regs, &looks, 7, now));
	cr_assert_eq(regs.r10, 1000, "another call than was looked at");
}

Test(live, instructions_are_found)
{
	static const uint8_t code[] = {
		0x90, 0x0f, 0x05, 0x48, 0x0f, 0x05, 0xc3, 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05};

	cr_assert_eq(inject_find_gadget(code, sizeof(code)), 4);
	cr_assert_eq(inject_find_gadget(code, 6), -1);
	cr_assert_eq(inject_find_restorer(code, sizeof(code)), 7);
	cr_assert_eq(inject_find_restorer(code, sizeof(code) - 1), -1);
}

Test(live, frames_restore_what_was_interrupted)
{
	const struct inject_site site = {.gadget = 0x1000, .restorer = 0x2000};
	struct inject_state state = {.regs = broken(SYS_read), .mask = 0x10};
	struct inject_frames frames = {0};
	uint64_t rip, rax, word;

	state.regs.rip = 0x5002;
	state.regs.rax = (unsigned long long)-512;
	cr_assert_eq(inject_build_frames(&site, &state, 0x7000, &frames), 0);
	cr_assert_eq(frames.own, 0x7000);
	memcpy(&word, frames.bytes, 8);
	cr_assert_eq(word, 0x2000, "the first word is where the call returns to");
	/* struct ucontext at 8, its sigcontext 40 in; ax is its 14th word, ip its 17th. */
	memcpy(&rax, frames.bytes + 48 + 13 * 8, 8);
	memcpy(&rip, frames.bytes + 48 + 16 * 8, 8);
	cr_assert_eq(rax, SYS_read, "the call is made again");
	cr_assert_eq(rip, 0x5000);
	memcpy(&word, frames.bytes + 8 + 296, 8);
	cr_assert_eq(word, 0x10, "the signal mask");
	memcpy(&rax, frames.bytes + (frames.exits - frames.base) + 48 + 13 * 8, 8);
	cr_assert_eq(rax, SYS_exit_group);
	inject_frames_free(&frames);
	state.xstate = "short";
	state.xstate_size = 5;
	cr_assert_eq(inject_build_frames(&site, &state, 0x7000, &frames), -EINVAL);
}

Test(live, sleep_is_not_slept_twice)
{
	struct user_regs_struct regs = broken(SYS_nanosleep);

	regs.rax = (unsigned long long)-516;
	regs.rip = 0x5002;
	inject_make_restorable(&regs);
	cr_assert_eq((int64_t)regs.rax, -EINTR);
	cr_assert_eq(regs.rip, 0x5002);
}

Test(live, start_is_harmless)
{
	const struct inject_site site = {.gadget = 0x1000, .restorer = 0x2000};
	const struct inject_frames frames = {.base = 0x7000, .own = 0x7000, .exits = 0x7400};
	struct user_regs_struct regs = broken(SYS_read);

	inject_set_start(&regs, &site, &frames);
	cr_assert_eq(regs.rax, SYS_rt_sigreturn, "the call that it makes by itself");
	cr_assert_eq(regs.rsp, 0x7008);
	cr_assert_eq((int64_t)regs.orig_rax, -1);
}

Test(live, files_as_the_kernel_notes_them)
{
	static const char text[] = "1000-3000 r-xp 00002000 08:01 7 /bin/x (deleted)\n"
				   "4000-5000 rw-p 00000000 00:00 0 [heap]\n"
				   "6000-7000 r--p 00001000 08:01 9 /lib/y\n";
	_cleanup_maps_ struct maps maps = {0};
	_cleanup_free_ void *note = NULL;
	uint64_t words[8];
	size_t size;

	cr_assert_eq(maps_parse(text, strlen(text), &maps), 0);
	cr_assert_eq(thread_state_file_note(&maps, &note, &size), 0);
	memcpy(words, note, sizeof(words));
	cr_assert_eq(words[0], 2);
	cr_assert_eq(words[1], 4096);
	cr_assert_eq(words[2], 0x1000);
	cr_assert_eq(words[4], 2, "the offset counts pages");
	cr_assert_eq(words[5], 0x6000);
	cr_assert_eq(size, sizeof(words) + sizeof("/bin/x (deleted)") + sizeof("/lib/y"));
	cr_assert_str_eq((char *)note + sizeof(words), "/bin/x (deleted)");
}

Test(live, states_that_do_not_hold_together)
{
	struct thread_state one = {.tid = 3};
	struct thread_states s = {.bytes = (char *)&one, .size = sizeof(one), .n = 1};

	cr_assert_eq(thread_states_check(&s), 0);
	s.n = 2;
	cr_assert_eq(thread_states_check(&s), -EINVAL);
	s.n = 1;
	one.xstate_size = 64;
	cr_assert_eq(thread_states_check(&s), -EINVAL, "more than there is");
	s.size--;
	cr_assert_eq(thread_states_check(&s), -EINVAL);
}

Test(live, status_says_what_may_be_done)
{
	struct preflight p = {0};

	preflight_read_status("Name:\tx\nTracerPid:\t0\nVmSize:\t1 kB\nSeccomp:\t2\n", &p);
	cr_assert(p.seccomp && !p.refused[0] && !p.no_fork[0]);
	preflight_read_status("Name:\tx\nTracerPid:\t0\nVmSize:\t1 kB\nSeccomp:\t1\n", &p);
	cr_assert(strstr(p.no_fork, "strict seccomp"));
	p = (struct preflight){0};
	preflight_read_status("Name:\tx\nTracerPid:\t0\nVmSize:\t1 kB\nSeccomp:\t0\n"
			      "x86_Thread_features:\tshstk wrss\n",
		&p);
	cr_assert(strstr(p.no_fork, "shadow stack"));
	p = (struct preflight){0};
	preflight_read_status("Name:\tkthreadd\nTracerPid:\t0\n", &p);
	cr_assert(strstr(p.refused, "kernel thread"));
	p = (struct preflight){0};
	preflight_read_status("Name:\tsh\nPPid:\t1000\nTracerPid:\t0\n", &p);
	cr_assert(strstr(p.refused, "about to end"));
	cr_assert(preflight_is_fork_monitored("pending:\t0\ntotal:\t0\nAPI:\taa:2:1ffff\n"));
	cr_assert_not(preflight_is_fork_monitored("pending:\t0\ntotal:\t0\nAPI:\taa:0:1ffff\n"));
}

Test(live, orphans_are_known)
{
	static const char line[] = "12 (a ) b) Z 7 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5000 0 0 "
				   "18446744073709551615 0 0 "
				   "0 0 0 0 0 0 0 0 0 0 0 3 0 0 0 0 0 0 0 0 0 0 0 0 50944\n";
	struct orphan_stat s;

	cr_assert_eq(orphans_parse_stat(line, &s), 0);
	cr_assert_eq(s.state, 'Z');
	cr_assert_eq(s.ppid, 7);
	cr_assert_eq(s.start_ticks, 5000);
	cr_assert_eq(s.exit_signal, 0);
	cr_assert_eq(s.exit_code, 50944);
	cr_assert(orphans_is_ours(&s, 7, 5000));
	cr_assert_not(orphans_is_ours(&s, 7, 5001), "it is older than the capture");
	cr_assert_not(orphans_is_ours(&s, 8, 5000));
	s.exit_code = 0;
	cr_assert_not(orphans_is_ours(&s, 7, 5000), "it ended by itself");
	s.exit_code = SIGKILL;
	s.exit_signal = SIGCHLD;
	cr_assert_not(orphans_is_ours(&s, 7, 5000), "the process waits for it");
	cr_assert_eq(orphans_parse_stat("12 (x) Z 7", &s), -EINVAL);
}

Test(live, orphans_stay_recorded)
{
	struct orphan_record r = orphans_next_record(NULL, 5000);

	cr_assert_eq(r.since, 5000);
	cr_assert_eq(r.last, 5000, "there is but one");
	r = orphans_next_record(&r, 5000);
	cr_assert_eq(r.since, 5000);
	cr_assert_eq(r.last, 5001, "two in one tick are two");
	r = orphans_next_record(&r, 7000);
	cr_assert_eq(r.since, 5000, "the first is found as well");
	cr_assert_eq(r.last, 7000);
	cr_assert_eq(orphans_parse_record("5000 7000\n", &r), 0);
	cr_assert_eq(r.since, 5000);
	cr_assert_eq(r.last, 7000);
	cr_assert_eq(orphans_parse_record("5000\n", &r), -EINVAL);
	cr_assert_eq(orphans_parse_record("7000 5000\n", &r), -EINVAL);
	cr_assert_eq(orphans_parse_record("", &r), -EINVAL);
}

Test(live, limits)
{
	const struct limits_size small_pages = {.resident = 1 << 30, .anonymous = 1 << 30},
				 huge_pages = {.resident = 1 << 30,
					 .anonymous = 1 << 30,
					 .huge = 1 << 30};
	struct limits_host host = {.memory = 100, .available = 50};

	cr_assert_gt(limits_fork_pause(&small_pages), 25 * NSEC_PER_MSEC);
	cr_assert_lt(limits_fork_pause(&small_pages), 60 * NSEC_PER_MSEC);
	cr_assert_lt(limits_fork_pause(&huge_pages), 5 * NSEC_PER_MSEC);
	cr_assert_gt(limits_stop_pause(&small_pages, true), NSEC_PER_SEC);
	cr_assert_null(limits_host_obstacle(&host));
	host.available = 9;
	cr_assert(strstr(limits_host_obstacle(&host), "10 %"));
	host = (struct limits_host){.memory = 100, .available = 50, .pressure = 10.5};
	cr_assert(strstr(limits_host_obstacle(&host), "pressure"));
	cr_assert_null(limits_clone_obstacle(&small_pages, LIMITS_NO_BOUND));
	cr_assert_not_null(limits_clone_obstacle(&small_pages, small_pages.resident - 1));
	cr_assert_null(limits_clone_obstacle(&small_pages, small_pages.resident));
	cr_assert_null(limits_drop_reason(&host, &small_pages, 200 << 20));
	cr_assert_not_null(limits_drop_reason(&host, &small_pages, 50 << 20));
	host.available = 4;
	cr_assert_not_null(limits_drop_reason(&host, &small_pages, LIMITS_NO_BOUND));
}

Test(live, progress_says_what_is_left)
{
	char line[160];

	progress_line(1ULL << 30, 4ULL << 30, NSEC_PER_SEC, line, sizeof(line));
	cr_assert_str_eq(
		line, "[######                  ] 1.0 GiB of 4.0 GiB, 1.0 GiB/s, 3 s left");
	progress_line(0, 0, 0, line, sizeof(line));
	cr_assert(strstr(line, "0 s left"));
}
