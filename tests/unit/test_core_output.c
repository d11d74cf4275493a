/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zstd.h>

#include "core/core.h"
#include "core/output.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/json.h"

#define MIB (1UL << 20)
#define GIB (1UL << 30)

static int temporary(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	return fd;
}

/* data, hole of HOLE bytes, data, hole: returns the file's size. */
static uint64_t write_pattern(int fd, enum core_compression compression, uint64_t hole)
{
	_cleanup_output_ struct output *o = NULL;
	uint64_t size;

	cr_assert_eq(output_open(fd, compression, &o), 0);
	cr_assert_eq(output_write(o, 0, "begin", 5), 0);
	cr_assert_eq(output_write(o, 5 + hole, "end", 3), 0);
	cr_assert_eq(output_finish(o, 5 + hole + 3 + 3 * MIB, &size), 0);
	return size;
}

static uint64_t disk_bytes(int fd)
{
	struct stat st;

	fstat(fd, &st);
	return (uint64_t)st.st_blocks * 512;
}

Test(output, holes_take_no_space_and_the_file_has_its_length)
{
	_cleanup_close_ int fd = temporary();
	uint64_t size = write_pattern(fd, COMPRESS_NONE, 4 * GIB);
	char got[3];

	cr_assert_eq(size, 4 * GIB + 3 * MIB + 8);
	cr_assert_eq((uint64_t)lseek(fd, 0, SEEK_END), size);
	cr_assert_lt(disk_bytes(fd), MIB);
	cr_assert_eq(pread(fd, got, 3, 4 * GIB + 5), 3);
	cr_assert_eq(memcmp(got, "end", 3), 0);
}

/* What decompression gives: length, and a sum over position and byte of all that is not zero. */
struct content {
	uint64_t size, sum;
};

static struct content decompress(int fd)
{
	_cleanup_free_ char *in = malloc(64 * 1024), *out = malloc(MIB);
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	struct content c = {0};
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, in, 64 * 1024)) > 0) {
		ZSTD_inBuffer from = {.src = in, .size = (size_t)n};

		while (from.pos < from.size) {
			ZSTD_outBuffer to = {.dst = out, .size = MIB};

			cr_assert_not(ZSTD_isError(ZSTD_decompressStream(zstd, &to, &from)));
			for (size_t i = 0; i < to.pos; i++)
				c.sum += out[i] ? (c.size + i) * (uint64_t)out[i] : 0;
			c.size += to.pos;
		}
	}
	ZSTD_freeDCtx(zstd);
	return c;
}

static uint64_t sum_of(const char *text, uint64_t at)
{
	uint64_t sum = 0;

	for (size_t i = 0; text[i]; i++)
		sum += (at + i) * (uint64_t)text[i];
	return sum;
}

Test(output, zstd_gives_back_the_very_bytes_whatever_the_hole)
{
	static const uint64_t holes[] = {
		1, 4096, 8 * MIB - 1, 8 * MIB, 64 * MIB + 1, 200 * MIB + 4096};

	for (size_t i = 0; i < ARRAY_SIZE(holes); i++) {
		_cleanup_close_ int fd = temporary();
		uint64_t written = write_pattern(fd, COMPRESS_ZSTD, holes[i]);
		struct content c = decompress(fd);

		cr_assert_eq(c.size, holes[i] + 3 * MIB + 8, "hole %zu", i);
		cr_assert_eq(c.sum, sum_of("begin", 0) + sum_of("end", holes[i] + 5));
		cr_assert_lt(written, 16384);
		cr_assert_eq((uint64_t)lseek(fd, 0, SEEK_END), written);
	}
}

Test(output, a_pipe_gets_real_zeros)
{
	int fds[2];
	char got[16];

	cr_assert_eq(pipe(fds), 0);
	{
		_cleanup_output_ struct output *o = NULL;
		uint64_t size;

		cr_assert_eq(output_open(fds[1], COMPRESS_NONE, &o), 0);
		cr_assert_not(output_any_order(o));
		output_write(o, 0, "a", 1);
		output_write(o, 4, "b", 1);
		cr_assert_eq(output_finish(o, 7, &size), 0);
		cr_assert_eq(size, 7);
	}
	cr_assert_eq(read(fds[0], got, sizeof(got)), 7);
	cr_assert_eq(memcmp(got, "a\0\0\0b\0\0", 7), 0);
}

Test(output, a_full_disk_is_an_error_at_the_last_byte_too)
{
	_cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	enum core_compression forms[] = {COMPRESS_NONE, COMPRESS_ZSTD};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		_cleanup_output_ struct output *o = NULL;
		uint64_t size;
		int r;

		cr_assert_eq(output_open(full, forms[i], &o), 0);
		r = output_write(o, 0, "x", 1);
		if (r == 0)
			r = output_finish(o, 1, &size);
		cr_assert_eq(r, -ENOSPC);
	}
}

/* The writer against this process' own memory: two pages with a page between them that cannot be
 * read. */
struct own {
	char *pages;
	struct mapping mapping[2];
	struct maps maps;
	struct memory memory;
	struct notes notes;
};

static void own_open(struct own *own, const char *name)
{
	_cleanup_close_ int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *p = mmap(
		NULL, 4 * MEMORY_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 'x', 4 * MEMORY_PAGE);
	munmap(p + MEMORY_PAGE, MEMORY_PAGE);
	*own = (struct own){.pages = p};
	own->mapping[0] = (struct mapping){
		.start = (uintptr_t)p,
		.end = (uintptr_t)p + 4 * MEMORY_PAGE,
		.prot = PROT_READ | PROT_WRITE,
		.anonymous = 4 * MEMORY_PAGE,
		.inode = 1, /* pagemap is not asked, so the hole is met by reading */
		.name = (char *)name,
	};
	own->maps = (struct maps){.v = own->mapping, .n = 1};
	cr_assert_eq(memory_open(self, &own->memory), 0);
}

static struct core_request request(struct own *own, int fd)
{
	return (struct core_request){
		.notes = &own->notes,
		.maps = &own->maps,
		.memory = &own->memory,
		.compression = COMPRESS_NONE,
		.coredump_filter = 0x33,
		.fd = fd,
	};
}

static bool says(const struct core_result *r, const char *text)
{
	for (size_t i = 0; i < json_array_size(r->notes); i++)
		if (strstr(json_string_value(json_array_get(r->notes, i)), text))
			return true;
	return false;
}

Test(core, an_unreadable_page_costs_that_page)
{
	_cleanup_core_result_ struct core_result result = {0};
	_cleanup_close_ int fd = temporary();
	char got[4 * MEMORY_PAGE];
	Elf64_Phdr load;
	struct own own;

	own_open(&own, "/x");
	struct core_request req = request(&own, fd);

	cr_assert_eq(core_write(&req, &result), 0);
	cr_assert_not(result.complete);
	cr_assert_eq(result.memory_bytes, 3 * MEMORY_PAGE);
	cr_assert(says(&result, "unreadable: 1 pages in 1 mappings"));
	cr_assert_eq(pread(fd, &load, sizeof(load), sizeof(Elf64_Ehdr) + sizeof(load)),
		(ssize_t)sizeof(load));
	cr_assert_eq(load.p_filesz, sizeof(got));
	cr_assert_eq(pread(fd, got, sizeof(got), (off_t)load.p_offset), (ssize_t)sizeof(got));
	cr_assert_eq(got[0], 'x');
	cr_assert_eq(got[MEMORY_PAGE], 0);
	cr_assert_eq(got[2 * MEMORY_PAGE], 'x');
	memory_close(&own.memory);
}

static ssize_t read_gone(struct memory *m, uint64_t address, void *buf, size_t len)
{
	(void)m, (void)address, (void)buf, (void)len;
	return -ESRCH;
}

Test(core, what_comes_too_late_is_left_out_and_the_core_keeps_its_length)
{
	static const char *const texts[] = {"process gone", "deadline passed", "free space"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_core_result_ struct core_result result = {0};
		_cleanup_close_ int fd = temporary();
		struct own own;

		own_open(&own, "/x");
		struct core_request req = request(&own, fd);

		if (i == 0)
			own.memory.read = read_gone;
		if (i == 1)
			req.deadline_ns = 1;
		if (i == 2)
			req.keep_free = INT64_MAX;
		cr_assert_eq(core_write(&req, &result), 0);
		cr_assert_not(result.complete);
		cr_assert(says(&result, texts[i]));
		cr_assert(says(&result, "16384 bytes missing"));
		cr_assert_eq((uint64_t)lseek(fd, 0, SEEK_END), result.bytes);
		memory_close(&own.memory);
	}
}

Test(core, the_incident_is_in_a_note_of_its_own)
{
	_cleanup_core_result_ struct core_result result = {0};
	_cleanup_json_ json_t *incident = json_pack("{s:s}", "id", "7");
	_cleanup_close_ int fd = temporary();
	_cleanup_notes_ struct notes notes = {0};
	Elf64_Phdr note;
	struct own own;
	char *bytes;

	own_open(&own, "/x");
	struct core_request req = request(&own, fd);

	req.incident = incident;
	cr_assert_eq(core_write(&req, &result), 0);
	cr_assert_eq(pread(fd, &note, sizeof(note), sizeof(Elf64_Ehdr)), (ssize_t)sizeof(note));
	bytes = malloc(note.p_filesz);
	cr_assert_eq(pread(fd, bytes, note.p_filesz, (off_t)note.p_offset), (ssize_t)note.p_filesz);
	cr_assert_eq(notes_parse(bytes, note.p_filesz, &notes), 0);
	cr_assert_eq(notes.n, 1);
	cr_assert_str_eq(notes.v[0].name, CORE_NOTE_OWNER);
	cr_assert_eq(notes.v[0].type, CORE_NOTE_INCIDENT);
	cr_assert_eq(memcmp(notes.v[0].desc, "{\"id\":\"7\"}", notes.v[0].size), 0);
	memory_close(&own.memory);
}
