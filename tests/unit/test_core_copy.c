/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "core/core.h"
#include "core/vast.h"
#include "core/window.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"

#define MIB   (1UL << 20)
#define BLOCK (256UL << 10)

static int temporary(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	return fd;
}

static uint64_t disk_bytes(int fd)
{
	struct stat st;

	fstat(fd, &st);
	return (uint64_t)st.st_blocks * 512;
}

/* Several threads that write blocks, the last first: every other one large and aligned, so that it
 * can go past the page cache, the others odd. */
struct writer {
	struct window *window;
	size_t first, blocks;
	int error;
};

static size_t length_of(size_t block)
{
	return block % 2 ? BLOCK : BLOCK / 2 - 77;
}

static void *write_backwards(void *arg)
{
	struct writer *w = arg;
	_cleanup_free_ char *data = aligned_alloc(4096, BLOCK);

	for (size_t i = w->blocks; i-- > 0 && w->error == 0;) {
		size_t block = w->first + i;

		memset(data, (int)(1 + block % 255), BLOCK);
		w->error = window_write(w->window, block * BLOCK, data, length_of(block));
	}
	return NULL;
}

Test(window, takes_blocks_in_any_order_from_several_threads)
{
	enum {
		THREADS = 3,
		EACH = 64
	};
	_cleanup_close_ int fd = temporary();
	_cleanup_free_ char *got = malloc(BLOCK);
	const uint64_t size = (THREADS * EACH + 40) * BLOCK;
	struct writer writers[THREADS];
	pthread_t threads[THREADS];
	struct window w;

	cr_assert_eq(window_open(fd, &w), 0);
	for (size_t i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){.window = &w, .first = i * EACH, .blocks = EACH};
		pthread_create(&threads[i], NULL, write_backwards, &writers[i]);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		cr_assert_eq(writers[i].error, 0);
	}
	cr_assert_eq(window_finish(&w, size), 0);
	window_close(&w);
	cr_assert_eq((uint64_t)lseek(fd, 0, SEEK_END), size);
	for (size_t block = 0; block < THREADS * EACH; block++) {
		size_t len = length_of(block);

		cr_assert_eq(pread(fd, got, BLOCK, (off_t)(block * BLOCK)), (ssize_t)BLOCK);
		for (size_t i = 0; i < BLOCK; i++)
			cr_assert_eq((unsigned char)got[i], i < len ? 1 + block % 255 : 0,
				"block %zu byte %zu", block, i);
	}
	/* What was not written takes no space: half of every other block, and the end. */
	cr_assert_lt(disk_bytes(fd), THREADS * EACH * (BLOCK / 4 * 3 + 4096));
}

Test(window, keeps_to_its_speed)
{
	_cleanup_close_ int fd = temporary();
	_cleanup_free_ char *data = calloc(1, 2 * MIB);
	struct window w;
	uint64_t began;

	cr_assert_eq(window_open(fd, &w), 0);
	began = clock_now_ns(CLOCK_MONOTONIC);
	window_pace(&w, 16 * MIB);
	for (uint64_t i = 0; i < 4; i++)
		cr_assert_eq(window_write(&w, i * 2 * MIB, data, 2 * MIB), 0);
	cr_assert_geq(clock_now_ns(CLOCK_MONOTONIC) - began, 500 * NSEC_PER_MSEC);
	cr_assert_eq(window_finish(&w, 8 * MIB), 0);
	window_close(&w);
}

Test(window, says_where_a_file_may_not_grow_any_more)
{
	const struct rlimit limit = {.rlim_cur = 3 * MIB + 100, .rlim_max = 3 * MIB + 100};
	_cleanup_close_ int fd = temporary();
	_cleanup_free_ char *data = aligned_alloc(4096, 2 * MIB);
	struct window w;
	char last;

	memset(data, 'x', 2 * MIB);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(window_open(fd, &w), 0);
	cr_assert_eq(window_write(&w, 0, data, 2 * MIB), 0);
	/* The first write call is short, the next fails. */
	cr_assert_eq(window_write(&w, 2 * MIB, data, 2 * MIB), -EFBIG);
	window_close(&w);
	cr_assert_eq(pread(fd, &last, 1, 3 * MIB - 1), 1);
	cr_assert_eq(last, 'x');
	cr_assert_eq(window_write(&w, INT64_MAX, data, 1), -EFBIG);
}

/* This process' own memory: pages that tell which one they are, each seventh zero, and one that is
 * not there. */
#define PAGES	5000UL
#define MISSING 3000UL

struct own {
	uint64_t *pages;
	struct mapping mapping;
	struct maps maps;
	struct memory memory;
	struct notes notes;
};

static uint64_t word_of(size_t page, size_t word)
{
	return page % 7 == 3 || page == MISSING ? 0 : page * 0x10001 + word + 1;
}

static ssize_t (*read_at_once)(struct memory *m, uint64_t address, void *buf, size_t len);

/* The first of each four pieces takes the longest, so that the others overtake it. */
static ssize_t read_unevenly(struct memory *m, uint64_t address, void *buf, size_t len)
{
	usleep(1000 * (3 - (unsigned int)(address / (2 * MIB) % 4)));
	return read_at_once(m, address, buf, len);
}

static void own_open(struct own *own)
{
	_cleanup_close_ int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const size_t size = PAGES * MEMORY_PAGE;
	const size_t words = MEMORY_PAGE / sizeof(uint64_t);
	uint64_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	for (size_t i = 0; i < PAGES * words; i++)
		p[i] = word_of(i / words, i % words);
	munmap(p + MISSING * words, MEMORY_PAGE);
	*own = (struct own){.pages = p};
	own->mapping = (struct mapping){
		.start = (uintptr_t)p,
		.end = (uintptr_t)p + size,
		.prot = PROT_READ | PROT_WRITE,
		.anonymous = size,
		.inode = 1, /* pagemap is not asked, so the missing page is met by reading */
		.name = (char[]){"/x"},
	};
	own->maps = (struct maps){.v = &own->mapping, .n = 1};
	cr_assert_eq(memory_open(self, &own->memory), 0);
	read_at_once = own->memory.read;
	own->memory.read = read_unevenly;
}

static int own_write(struct own *own, int fd, enum core_compression form, struct core_result *out)
{
	const struct core_request req = {
		.notes = &own->notes,
		.maps = &own->maps,
		.memory = &own->memory,
		.compression = form,
		.coredump_filter = 0x33,
		.fd = fd,
	};

	return core_write(&req, out);
}

static char *core_bytes(int fd, enum core_compression form, size_t size)
{
	size_t room = (size_t)lseek(fd, 0, SEEK_END), done = 0;
	_cleanup_free_ char *file = malloc(room);
	char *core = calloc(1, size);

	cr_assert_eq(pread(fd, file, room, 0), (ssize_t)room);
	if (form == COMPRESS_NONE) {
		memcpy(core, file, size < room ? size : room);
		return core;
	}
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	ZSTD_inBuffer in = {.src = file, .size = room};
	ZSTD_outBuffer out = {.dst = core, .size = size};

	while (in.pos < in.size && out.pos < out.size && !ZSTD_isError(done))
		done = ZSTD_decompressStream(zstd, &out, &in);
	cr_assert_eq(out.pos, size);
	ZSTD_freeDCtx(zstd);
	return core;
}

Test(copy, puts_every_byte_at_its_place_whoever_was_faster)
{
	static const enum core_compression forms[] = {COMPRESS_NONE, COMPRESS_ZSTD};
	const size_t words = MEMORY_PAGE / sizeof(uint64_t);
	const size_t zeros = (PAGES + 3) / 7 + 1; /* with the missing one */
	struct own own;

	own_open(&own);
	for (size_t form = 0; form < ARRAY_SIZE(forms); form++) {
		_cleanup_core_result_ struct core_result result = {0};
		_cleanup_close_ int fd = temporary();
		_cleanup_free_ char *core = NULL;
		size_t head;
		uint64_t *got;

		cr_assert_eq(own_write(&own, fd, forms[form], &result), 0);
		cr_assert_eq(result.memory_bytes, (PAGES - zeros) * MEMORY_PAGE);
		cr_assert_not(result.complete);
		head = MEMORY_PAGE; /* of so few mappings */
		core = core_bytes(fd, forms[form], head + PAGES * MEMORY_PAGE);
		got = (uint64_t *)(core + head);
		for (size_t i = 0; i < PAGES * words; i++)
			cr_assert_eq(got[i], word_of(i / words, i % words), "page %zu", i / words);
		if (forms[form] == COMPRESS_NONE)
			cr_assert_leq(disk_bytes(fd), (PAGES - zeros + 16) * MEMORY_PAGE);
	}
	memory_close(&own.memory);
}

Test(copy, a_full_disk_is_an_error_whichever_lane_meets_it)
{
	_cleanup_core_result_ struct core_result result = {0};
	_cleanup_close_ int fd = -1;
	struct own own;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("full", "/mnt", "tmpfs", 0, "size=8m") < 0)
		cr_skip_test("a small file system cannot be mounted here");
	fd = open("/mnt/core", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	own_open(&own);
	cr_assert_eq(own_write(&own, fd, COMPRESS_NONE, &result), -ENOSPC);
	memory_close(&own.memory);
}

/* Page tables of a reservation: what was touched lies in it like islands. */
#define ISLANDS 3

struct reservation {
	struct memory memory;
	uint64_t islands[ISLANDS];
};

static int skip_to_island(struct memory *m, uint64_t *address, uint64_t end)
{
	const struct reservation *r = (const struct reservation *)m;
	uint64_t next = end;

	for (size_t i = 0; i < ISLANDS; i++)
		if (r->islands[i] >= *address && r->islands[i] < next)
			next = r->islands[i];
	*address = next;
	return 0;
}

Test(vast, leaves_out_what_nobody_touched_and_nothing_else)
{
	const uint64_t start = 0x100000000000, end = start + (1UL << 45);
	struct reservation r = {
		.memory.skip = skip_to_island,
		/* The last two have only a little between them. */
		.islands = {start, start + (1UL << 44), start + (1UL << 44) + VAST_SIZE / 2},
	};
	_cleanup_plan_ struct plan p = {.v = calloc(2, sizeof(*p.v)), .n = 2, .room = 2};
	uint64_t at = start, in_core = 0, out = 0;

	p.v[0] = (struct segment){
		.start = start, .end = end, .file_size = end - start, .untouched_is_zero = true};
	/* What is a file's is not zero, touched or not. */
	p.v[1] = (struct segment){.start = end, .end = end + VAST_SIZE, .file_size = VAST_SIZE};
	p.memory_size = end - start + VAST_SIZE;
	cr_assert_eq(vast_leave_out(&p, &r.memory), 0);
	for (size_t i = 0; i < p.n; i++) {
		const struct segment *s = &p.v[i];

		cr_assert_eq(s->start, at);
		cr_assert_lt(s->start, s->end);
		cr_assert(s->file_size == 0 || s->file_size == s->end - s->start);
		for (size_t k = 0; k < ISLANDS; k++)
			if (r.islands[k] >= s->start && r.islands[k] < s->end)
				cr_assert_neq(s->file_size, 0, "island %zu", k);
		in_core += s->file_size;
		out += s->file_size ? 0 : s->end - s->start;
		at = s->end;
	}
	cr_assert_eq(at, end + VAST_SIZE);
	cr_assert_eq(in_core, p.memory_size);
	cr_assert_leq(in_core, 2 * ISLANDS * VAST_SIZE);
	cr_assert_eq(out, p.left_out[PLAN_VAST].bytes);
	cr_assert_eq(p.left_out[PLAN_VAST].mappings, 1);
}

Test(vast, finds_the_one_touched_page_of_a_terabyte)
{
	_cleanup_close_ int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const size_t size = 1UL << 40;
	_cleanup_memory_ struct memory memory = {0};
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	const uint64_t touched = (uintptr_t)p + size / 2 + 5 * MEMORY_PAGE;
	uint64_t at = (uintptr_t)p;

	cr_assert_neq(p, MAP_FAILED);
	cr_assert_eq(memory_open(self, &memory), 0);
	madvise(p, size, MADV_NOHUGEPAGE);
	*(volatile char *)touched = 1;
	cr_assert_eq(memory.skip(&memory, &at, (uintptr_t)p + size), 0);
	if (at == (uintptr_t)p)
		cr_skip_test("this kernel has no PAGEMAP_SCAN");
	cr_assert_eq(at, touched);
	at += MEMORY_PAGE;
	cr_assert_eq(memory.skip(&memory, &at, (uintptr_t)p + size), 0);
	cr_assert_eq(at, (uintptr_t)p + size);
}
