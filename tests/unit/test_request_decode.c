/* SPDX-License-Identifier: MIT */
#include <abi.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "probe/request_decode.h"
#include "target/go.h"
#include "target/wait.h"

static struct ct_request record_of(void)
{
	struct ct_request r = {
		.header = {.kind = CT_CONNECTION, .size = sizeof(r), .time_ns = 5000},
		.start_ns = 70000000,
		.first_ns = 1000,
		.last_ns = 2000,
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
	cr_assert(out.age_ns == 3000 && out.bytes_in == 15 && !out.answered && !out.client);
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
	in.header.time_ns = in.last_ns - 1;
	cr_assert_eq(request_decode(&in, sizeof(in), &out), -EBADMSG, "an age below zero");
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
	cr_assert(w.call == -1 && !wait_is_idle(&w));
	cr_assert_eq(wait_parse("-1 0x7ffd 0x7f00\n", &w), 0);
	cr_assert_eq(w.call, -1);
	cr_assert_eq(wait_parse("0 0x7 0x1 0x2 0x3 0x4 0x5 0x6 0x7\n", &w), 0);
	cr_assert(w.call == __NR_read && w.argument == 7);
	cr_assert_eq(wait_parse("", &w), -EINVAL);
	w.call = __NR_epoll_pwait;
	cr_assert(wait_is_idle(&w));
	w.call = __NR_futex;
	cr_assert_not(wait_is_idle(&w));
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
