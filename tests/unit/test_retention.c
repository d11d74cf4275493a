/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/clock.h"
#include "store/name.h"
#include "store/retention.h"

#define DAY (24 * 3600 * NSEC_PER_SEC)

static struct store_item item(const char *id, uint64_t bytes, uint64_t modified_ns)
{
	struct store_item i = {.bytes = bytes, .modified_ns = modified_ns};

	strcpy(i.id, id);
	return i;
}

/* The newest first. */
static struct store_item captures[] = {
	{.id = "20261105T000000Z-nginx-5-cpu-0005", .bytes = 50, .modified_ns = 50 * DAY},
	{.id = "20261104T000000Z-api-server-4-sigsegv-0004", .bytes = 40, .modified_ns = 40 * DAY},
	{.id = "20261103T000000Z-nginx-3-cpu-0003", .bytes = 30, .modified_ns = 30 * DAY},
	{.id = "20261102T000000Z-nginx-2-cpu-0002", .bytes = 20, .modified_ns = 20 * DAY},
	{.id = "20261101T000000Z-api-server-1-cpu-0001", .bytes = 10, .modified_ns = 10 * DAY},
};
static const struct store_items all = {.v = captures, .n = 5};

Test(retention, names_end_before_the_pid)
{
	size_t length;
	const char *comm = store_name_comm(captures[1].id, &length);

	cr_assert_eq(length, strlen("api-server"));
	cr_assert_eq(strncmp(comm, "api-server", length), 0);
}

Test(retention, keeps_what_fits)
{
	const struct retention none = {0}, exact = {.max_bytes = 150,
						   .max_count = 5,
						   .keep_free = 1000,
						   .max_age_ns = 41 * DAY};

	cr_assert_eq(retention_choose(&none, &all, 0, 1000 * DAY), 5);
	cr_assert_eq(retention_choose(&exact, &all, 1000, 51 * DAY), 5);
}

Test(retention, the_oldest_of_the_process_with_the_most_goes)
{
	const struct retention bytes = {.max_bytes = 149}, count = {.max_count = 4},
			       space = {.keep_free = 1001};

	cr_assert_eq(retention_choose(&bytes, &all, 0, 51 * DAY), 3);
	cr_assert_eq(retention_choose(&count, &all, 0, 51 * DAY), 3);
	cr_assert_eq(retention_choose(&space, &all, 1000, 51 * DAY), 3);
}

Test(retention, what_is_too_old_goes_first)
{
	const struct retention age = {.max_age_ns = 40 * DAY, .max_count = 1};

	cr_assert_eq(retention_choose(&age, &all, 0, 51 * DAY), 4);
	cr_assert_eq(retention_choose(&age, &all, 0, 50 * DAY), 3, "not yet too old, but too many");
}

Test(retention, an_empty_store_has_nothing_to_go)
{
	const struct store_items nothing = {0};
	const struct retention r = {.keep_free = 1};

	cr_assert_eq(retention_choose(&r, &nothing, 0, 0), 0);
}

Test(retention, equals_go_by_age)
{
	struct store_item two[] = {item("20261105T000000Z-a-5-cpu-0005", 1, 2),
		item("20261104T000000Z-b-5-cpu-0005", 1, 1)};
	const struct store_items items = {.v = two, .n = 2};
	const struct retention r = {.max_count = 1};

	cr_assert_eq(retention_choose(&r, &items, 0, 3), 1);
}
