/* SPDX-License-Identifier: MIT */
#include <abi.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "probe/decode.h"

static struct ct_death *death(void)
{
	struct ct_death *d = calloc(1, sizeof(*d));

	cr_assert_not_null(d);
	d->signal.header =
		(struct ct_header){.kind = CT_DEATH, .size = sizeof(*d), .time_ns = 1000};
	d->signal.process =
		(struct ct_process){.tgid = 10, .tid = 11, .start_ns = 12345678901, .uid = 33};
	memcpy(d->signal.process.comm, "0123456789abcdef", CT_COMM_SIZE); /* no NUL */
	d->signal.signal = SIGSEGV;
	d->signal.code = 1;
	d->signal.flags = CT_CORE | CT_HAS_FAULT | CT_HAS_REGISTERS;
	d->signal.fault_address = 8;
	d->signal.trap = 14;
	d->signal.error_code = 6; /* user, write, not present */
	d->signal.registers[16] = 0x401000;
	d->stack_size = 16;
	return d;
}

Test(decode, a_death_keeps_what_the_kernel_saw)
{
	struct ct_death *d = death();
	struct event *e = NULL;

	cr_assert_eq(decode_record(d, sizeof(*d), 500, &e), 0);
	cr_assert_eq(e->kind, EVENT_DEATH);
	cr_assert_eq(e->time_ns, 1500);
	cr_assert_eq(e->process.pid, 10);
	cr_assert_eq(e->process.tid, 11);
	cr_assert_eq(e->process.start_ticks, 1234);
	cr_assert_str_eq(e->process.comm, "0123456789abcde");
	cr_assert_eq(e->signal.number, SIGSEGV);
	cr_assert_eq(e->signal.access, ACCESS_WRITE);
	cr_assert_not(e->signal.mapped);
	cr_assert_eq(e->signal.address, 8);
	cr_assert_eq(registers_ip(&e->signal.registers), 0x401000);
	cr_assert_eq(e->signal.stack_size, 16);
	event_free(e);
	free(d);
}

Test(decode, error_codes_of_page_faults)
{
	static const struct {
		uint64_t error_code;
		enum event_access access;
		bool mapped;
	} cases[] = {{4, ACCESS_READ, false}, {5, ACCESS_READ, true}, {7, ACCESS_WRITE, true},
		{0x15, ACCESS_EXECUTE, true}, {0x14, ACCESS_EXECUTE, false}};
	struct ct_death *d = death();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct event *e = NULL;

		d->signal.error_code = cases[i].error_code;
		cr_assert_eq(decode_record(d, sizeof(*d), 0, &e), 0);
		cr_assert_eq(e->signal.access, cases[i].access, "case %zu", i);
		cr_assert_eq(e->signal.mapped, cases[i].mapped, "case %zu", i);
		event_free(e);
	}
	free(d);
}

Test(decode, what_does_not_hold_together_is_refused)
{
	struct ct_death *d = death();
	struct event *e = NULL;

	cr_assert_eq(decode_record(d, sizeof(struct ct_header) - 1, 0, &e), -EBADMSG);
	cr_assert_eq(decode_record(d, sizeof(*d) - 1, 0, &e), -EBADMSG);
	d->stack_size = CT_STACK_SIZE + 1;
	cr_assert_eq(decode_record(d, sizeof(*d), 0, &e), -EBADMSG);
	d->stack_size = 0;
	d->signal.arguments_size = CT_ARGUMENTS_SIZE + 1;
	cr_assert_eq(decode_record(d, sizeof(*d), 0, &e), -EBADMSG);
	d->signal.arguments_size = 0;
	d->signal.signal = 65;
	cr_assert_eq(decode_record(d, sizeof(*d), 0, &e), -EBADMSG);
	d->signal.signal = 9;
	d->signal.header.kind = 99;
	cr_assert_eq(decode_record(d, sizeof(*d), 0, &e), -EBADMSG);
	d->signal.header.kind = CT_EXIT;
	cr_assert_eq(decode_record(d, sizeof(*d), 0, &e), -EBADMSG, "the size of another kind");
	cr_assert_null(e);
	free(d);
}
