/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/clock.h"
#include "store/name.h"

static void format(const char *comm, const char *trigger, char id[STORE_ID_MAX])
{
	struct store_name name = {
		.realtime_ns = 1795424400ULL * NSEC_PER_SEC + 999999999,
		.comm = comm,
		.pid = 4194304,
		.trigger = trigger,
	};

	store_name_format(&name, 0x0a3f, id);
}

Test(store_names, an_id_tells_when_who_and_why)
{
	char id[STORE_ID_MAX];

	format("nginx", "SIGSEGV", id);
	cr_assert_str_eq(id, "20261123T090000Z-nginx-4194304-sigsegv-0a3f");
	cr_assert(store_name_valid(id));
}

Test(store_names, no_process_name_leaves_the_store)
{
	static const char *const comms[] = {"../../etc", "a/b", ".", "..", "", "new\nline",
		"\x1b[31m", "-rf", "\xff\xfe", "żółć", "%n%s", "a b\t", ".tmp-x",
		"a very long name that no kernel would hand out at all"};

	for (size_t i = 0; i < sizeof(comms) / sizeof(*comms); i++) {
		char id[STORE_ID_MAX];

		format(comms[i], "cpu", id);
		cr_assert(store_name_valid(id), "%s", id);
		cr_assert_null(strchr(id, '/'));
		cr_assert(id[0] == '2');
		for (const char *c = id; *c; c++)
			cr_assert((*c & 0x80) == 0 && *c > ' ', "%s", id);
	}
}

Test(store_names, the_longest_name_fits)
{
	char id[STORE_ID_MAX], temporary[STORE_TEMPORARY_MAX];
	char comm[300];

	memset(comm, 'x', sizeof(comm) - 1);
	comm[sizeof(comm) - 1] = '\0';
	format(comm, comm, id);
	cr_assert(store_name_valid(id));
	store_name_temporary(id, temporary);
	cr_assert(store_name_is_temporary(temporary));
	cr_assert_str_eq(temporary + strlen(STORE_TEMPORARY), id);
	cr_assert_not(store_name_valid(temporary));
}

Test(store_names, only_captures_are_valid)
{
	static const char *const others[] = {"", ".", "..", "lost+found", "20261123T090000Z",
		"core.zst", "20261123T090000Z-a-1-b-12g4", "20261123T090000Z-a-1-b-12A4",
		"20261123T090000Z-../x-1-b-1234", "20261123T090000Z-a/b-1-b-1234",
		"20261123t090000Z-a-1-b-1234", "20261123T090000Z-a-1-b-123",
		"20261123T090000Z-a\n-1-b-1234", "20261123T090000Z-A-1-b-1234", "-rf",
		"20261123T090000Z--1234"};

	cr_assert(store_name_valid("20261123T090000Z-a-1-first-chance-1234"));
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		cr_assert_not(store_name_valid(others[i]), "%s", others[i]);
}
