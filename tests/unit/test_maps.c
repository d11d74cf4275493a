/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/cleanup.h"
#include "target/maps.h"
#include "target/memory.h"

static const char smaps[] =
	"55d0c0000000-55d0c0001000 r--p 00000000 fe:00 1234                       /usr/bin/a b\n"
	"Size:                  4 kB\n"
	"Anonymous:             0 kB\n"
	"VmFlags: rd mr mw me \n"
	"55d0c0001000-55d0c0004000 rw-p 00001000 fe:00 1234                       /tmp/x\\012y "
	"(deleted)\n"
	"Anonymous:             8 kB\n"
	"Swap:                  4 kB\n"
	"SwapPss:               4 kB\n"
	"VmFlags: rd wr mr mw me ac dd wf \n"
	"7f0000000000-7f0000200000 rw-s 00000000 00:0f 0                          /SYSV00000000 "
	"(deleted)\n"
	"VmFlags: rd wr sh mr mw me ms \n"
	"7f0000200000-7f0000400000 rw-p 00000000 00:00 0 \n"
	"VmFlags: rd wr ht dc \n"
	"7f0000500000-7f0000501000 rw-s 00000000 00:10 7                          /secretmem "
	"(deleted)\n"
	"7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

Test(maps, smaps_are_read_with_flags_names_and_written_bytes)
{
	_cleanup_maps_ struct maps m = {0};

	cr_assert_eq(maps_parse(smaps, sizeof(smaps) - 1, &m), 0);
	cr_assert_eq(m.n, 7);
	cr_assert_str_eq(m.v[0].name, "/usr/bin/a b");
	cr_assert_eq(m.v[0].prot, PROT_READ);
	cr_assert_eq(m.v[0].inode, 1234);
	cr_assert_eq(m.v[0].major, 0xfe);
	cr_assert_not(m.v[0].deleted);

	cr_assert_str_eq(m.v[1].name, "/tmp/x\ny");
	cr_assert(m.v[1].deleted);
	cr_assert_eq(m.v[1].offset, 0x1000);
	cr_assert_eq(m.v[1].anonymous, 12 * 1024, "written pages count, swapped ones too");
	cr_assert_eq(m.v[1].flags, MAPPING_DONTDUMP | MAPPING_WIPEONFORK);

	cr_assert(m.v[2].deleted, "inode 0 is a valid id of SysV shared memory");
	cr_assert(mapping_has_file(&m.v[2]));
	cr_assert_eq(m.v[2].flags, MAPPING_SHARED);
	cr_assert_eq(m.v[3].flags, MAPPING_HUGETLB | MAPPING_DONTFORK);
	cr_assert_str_eq(m.v[3].name, "");
	cr_assert_not(mapping_has_file(&m.v[3]));
	cr_assert(m.v[4].flags & MAPPING_SECRET);
	cr_assert_str_eq(m.v[5].name, "[stack]");
	cr_assert_eq(m.v[6].end, 0xffffffffff601000);
}

Test(maps, an_address_is_found_in_its_mapping_only)
{
	_cleanup_maps_ struct maps m = {0};

	cr_assert_eq(maps_parse(smaps, sizeof(smaps) - 1, &m), 0);
	cr_assert_eq(maps_find(&m, 0x55d0c0000000), &m.v[0]);
	cr_assert_eq(maps_find(&m, 0x55d0c0001000), &m.v[1]);
	cr_assert_eq(maps_find(&m, 0xffffffffff600fff), &m.v[6]);
	cr_assert_null(maps_find(&m, 0x55d0c0004000));
	cr_assert_null(maps_find(&m, 0));
	cr_assert_null(maps_find(&m, UINT64_MAX));
}

Test(maps, text_that_the_kernel_would_not_print_is_refused)
{
	static const char *const broken[] = {
		"1000-2000 rw-p 00000000 00:00 0",				   /* cut off */
		"2000-1000 rw-p 00000000 00:00 0 \n",				   /* backwards */
		"1001-2000 rw-p 00000000 00:00 0 \n",				   /* not aligned */
		"1000-3000 rw-p 0 00:00 0 \n2000-4000 rw-p 0 00:00 0 \n",	   /* overlap */
		"1000-2000 rwzp 00000000 00:00 0 \n",				   /* permissions */
		"11112222333344445-2000 rw-p 0 00:00 0 \n",			   /* overflow */
		"Anonymous: 4 kB\n",						   /* of nothing */
		"1000-2000 rw-p 0 00:00 0 \nAnonymous: 99999999999999999999 kB\n", /* overflow */
		"\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct maps m = {0};

		cr_assert_eq(maps_parse(broken[i], strlen(broken[i]), &m), -EINVAL, "case %zu", i);
		cr_assert_null(m.v);
	}
}

/* This process stands for the target: real smaps, mem and pagemap. */
Test(maps, memory_of_a_live_process_is_read_as_it_is)
{
	_cleanup_close_ int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_memory_ struct memory memory = {0};
	_cleanup_maps_ struct maps maps = {0};
	/* Between pages without permission, so that it is not merged with a neighbour. */
	char *base = mmap(NULL, 6 * MEMORY_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *p = base + MEMORY_PAGE;
	char got[3 * MEMORY_PAGE];
	uint8_t states[4];

	cr_assert_neq(base, MAP_FAILED);
	mprotect(p, 4 * MEMORY_PAGE, PROT_READ | PROT_WRITE);
	memset(p, 'x', MEMORY_PAGE);
	memset(p + MEMORY_PAGE, 'y', MEMORY_PAGE);
	mprotect(p + MEMORY_PAGE, MEMORY_PAGE, PROT_NONE);
	munmap(p + 3 * MEMORY_PAGE, MEMORY_PAGE);
	cr_assert_eq(maps_read(self, true, &maps), 0);
	cr_assert_eq(maps_find(&maps, (uintptr_t)p)->anonymous, MEMORY_PAGE);

	cr_assert_eq(memory_open(self, &memory), 0);
	cr_assert_eq(memory.pages(&memory, (uintptr_t)p, 4, states), 0);
	cr_assert_eq(states[0], MEMORY_ANONYMOUS);
	cr_assert_eq(states[1], MEMORY_ANONYMOUS);
	cr_assert_eq(states[2], MEMORY_UNTOUCHED);
	/* No permission is no obstacle; a hole in the address space is, and ends the read before
	 * it. */
	cr_assert_eq(memory.read(&memory, (uintptr_t)p, got, sizeof(got)), 3 * MEMORY_PAGE);
	cr_assert_eq(got[MEMORY_PAGE], 'y');
	cr_assert_eq(memory.read(&memory, (uintptr_t)p + 2 * MEMORY_PAGE, got, 2 * MEMORY_PAGE),
		MEMORY_PAGE);
	cr_assert_eq(
		memory.read(&memory, (uintptr_t)p + 3 * MEMORY_PAGE, got, MEMORY_PAGE), -EFAULT);
}

Test(maps, shared_memory_shows_what_others_wrote_without_allocating_the_rest)
{
	_cleanup_close_ int self = open("/proc/self/task", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int task = -1;
	_cleanup_memory_ struct memory memory = {0};
	_cleanup_maps_ struct maps maps = {0};
	_cleanup_close_ int fd = memfd_create("shared", MFD_CLOEXEC);
	uint8_t states[8] = {0};
	char name[16];
	char *p;

	if (geteuid() != 0)
		cr_skip("map_files needs privilege");
	snprintf(name, sizeof(name), "%d", getpid());
	task = openat(self, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(ftruncate(fd, sizeof(states) * MEMORY_PAGE), 0);
	p = mmap(NULL, sizeof(states) * MEMORY_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert_eq(pwrite(fd, "z", 1, 3 * MEMORY_PAGE), 1);
	cr_assert_eq(maps_read(task, true, &maps), 0);
	cr_assert_eq(memory_open(task, &memory), 0);
	cr_assert_eq(
		memory.shared(&memory, maps_find(&maps, (uintptr_t)p), (uintptr_t)p, 8, states), 0);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		cr_assert_eq(states[i], i == 3 ? MEMORY_FILE : MEMORY_UNTOUCHED, "page %zu", i);
}
