/* SPDX-License-Identifier: MIT */
#include <abi.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe/request_decode.h"
#include "target/go.h"
#include "target/wait.h"
#include "target/wait_set.h"

static struct ct_request record_of(void)
{
	struct ct_request r = {
		.header = {.kind = CT_CONNECTION, .size = sizeof(r), .time_ns = 5000},
		.start_ns = 70000000,
		.number = 3,
		.age_ns = 3000,
		.bytes_in = 10,
		.unread = 5,
		.tgid = 7,
		.tid = 8,
		.protocol = CT_PROTOCOL_HTTP,
		.family = AF_INET,
		.peer_port = 80,
		.peer = {10, 0, 0, 1},
		.method = "GET",
	};

	memset(r.path, 'p', sizeof(r.path)); /* fills its field: no NUL */
	return r;
}

Test(request_decode, fields)
{
	struct ct_request in = record_of();
	struct request out;
	char text[ENDPOINT_TEXT];

	cr_assert_eq(request_decode(&in, sizeof(in), &out), 0);
	cr_assert(out.pid == 7 && out.tid == 8 && out.start_ticks == 7);
	cr_assert(out.age_ns == 3000 && out.bytes_in == 10 && out.unread == 5 && !out.answered);
	cr_assert_eq(strlen(out.path), CT_PATH_SIZE);
	cr_assert_str_eq(out.method, "GET");
	cr_assert_str_eq(endpoint_format(&out.peer, text, sizeof(text)), "10.0.0.1:80");
}

Test(request_decode, mapped_addresses_are_plain)
{
	struct ct_request in = record_of();
	struct request out;
	char text[ENDPOINT_TEXT];

	in.family = AF_INET6;
	memset(in.peer, 0, sizeof(in.peer));
	in.peer[15] = 1;
	cr_assert_eq(request_decode(&in, sizeof(in), &out), 0);
	cr_assert_str_eq(endpoint_format(&out.peer, text, sizeof(text)), "[::1]:80");
	in.peer[10] = in.peer[11] = 0xff;
	cr_assert_eq(request_decode(&in, sizeof(in), &out), 0);
	cr_assert_str_eq(endpoint_format(&out.peer, text, sizeof(text)), "0.0.0.1:80");
	in.family = AF_UNIX;
	cr_assert_eq(request_decode(&in, sizeof(in), &out), 0);
	cr_assert_str_eq(endpoint_format(&out.peer, text, sizeof(text)), "unix");
}

Test(request_decode, nothing_is_taken_for_granted)
{
	struct ct_request in = record_of();
	struct request out;

	cr_assert_eq(request_decode(&in, sizeof(in) - 1, &out), -EBADMSG);
	in.tgid = 0;
	cr_assert_eq(request_decode(&in, sizeof(in), &out), -EBADMSG);
	in = record_of();
	in.protocol = 17;
	cr_assert_eq(request_decode(&in, sizeof(in), &out), -EBADMSG);
	in = record_of();
	in.header.kind = CT_DEATH;
	cr_assert_eq(request_decode(&in, sizeof(in), &out), -EBADMSG);
}

Test(wait, parses)
{
	struct thread_wait w;

	cr_assert_eq(wait_parse("running\n", &w), 0);
	cr_assert(w.call == -1 && wait_kind(&w) == WAIT_OTHER);
	cr_assert_eq(wait_parse("-1 0x7ffd 0x7f00\n", &w), 0);
	cr_assert_eq(w.call, -1);
	cr_assert_eq(wait_parse("0 0x7 0x1 0x2 0x3 0x4 0x5 0x6 0x7\n", &w), 0);
	cr_assert(w.call == __NR_read && w.arguments[0] == 7 && w.arguments[2] == 2);
	cr_assert_eq(wait_kind(&w), WAIT_RECEIVE);
	cr_assert_eq(w.sp, 6);
	cr_assert_eq(wait_parse("", &w), -EINVAL);
	w.call = __NR_epoll_pwait;
	cr_assert_eq(wait_kind(&w), WAIT_EPOLL);
	w.call = __NR_futex;
	cr_assert_eq(wait_kind(&w), WAIT_OTHER);
}

Test(wait_set, epoll)
{
	const char *text =
		"pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1058\n"
		"tfd:       31 events:       19 data:               1f  pos:0 ino:bfa1 sdev:8\n"
		"tfd:        5 events: 80000019 data: ffffffffffffffff  pos:0 ino:3d sdev:7\n";
	struct wait_set set;

	cr_assert_eq(wait_set_parse_epoll(text, &set), 0);
	cr_assert(set.n == 2 && wait_set_has(&set, -1, 0xbfa1) && wait_set_has(&set, -1, 0x3d));
	cr_assert_not(wait_set_has(&set, 31, 0x1058), "neither a descriptor nor its own inode");
	wait_set_free(&set);
	cr_assert_eq(wait_set_parse_epoll("", &set), 0);
	cr_assert(set.n == 0 && !wait_set_has(&set, 0, 0));
	wait_set_free(&set);
}

/* This thread "waits" for what its arguments say. */
Test(wait_set, poll_and_select)
{
	struct pollfd fds[] = {{.fd = 7}, {.fd = -1}, {.fd = 3}};
	struct thread_wait w = {.call = __NR_ppoll, .arguments = {(uint64_t)(uintptr_t)fds, 3}};
	int procfd = open("/proc/self", O_PATH | O_CLOEXEC);
	struct wait_set set;
	fd_set readable;

	cr_assert_eq(wait_set_read(procfd, gettid(), &w, &set), 0);
	cr_assert(set.n == 2 && wait_set_has(&set, 3, 0) && wait_set_has(&set, 7, 0));
	wait_set_free(&set);
	w.arguments[1] = 1 << 20;
	cr_assert_eq(wait_set_read(procfd, gettid(), &w, &set), -E2BIG);
	w.arguments[0] = 1;
	w.arguments[1] = 1;
	cr_assert_eq(wait_set_read(procfd, gettid(), &w, &set), -EIO);
	FD_ZERO(&readable);
	FD_SET(70, &readable);
	w = (struct thread_wait){
		.call = __NR_pselect6, .arguments = {71, (uint64_t)(uintptr_t)&readable}};
	cr_assert_eq(wait_set_read(procfd, gettid(), &w, &set), 0);
	cr_assert(set.n == 1 && wait_set_has(&set, 70, 0));
	wait_set_free(&set);
	w.call = __NR_accept4;
	cr_assert_eq(wait_set_read(procfd, gettid(), &w, &set), -EOPNOTSUPP);
	close(procfd);
}

Test(go, version)
{
	char file[256] = "x";
	unsigned int minor;
	uint32_t offset;

	cr_assert_eq(go_find_minor(file, sizeof(file), &minor), -ENOENT);
	memcpy(file + 16, "\xff Go buildinf:\x08\x02", 16);
	cr_assert_eq(go_find_minor(file, sizeof(file), &minor), -ENOENT, "no version behind it");
	memcpy(file + 16 + 32, "\x08go1.19.8", 9);
	cr_assert_eq(go_find_minor(file, sizeof(file), &minor), 0);
	cr_assert_eq(minor, 19);
	cr_assert_eq(go_find_minor(file, 16 + 32 + 4, &minor), -ENOENT, "cut");
	cr_assert(go_goid_offset(19, &offset) == 0 && offset == 152);
	cr_assert(go_goid_offset(23, &offset) == 0 && offset == 160);
	cr_assert_eq(go_goid_offset(99, &offset), -EOPNOTSUPP);
}
