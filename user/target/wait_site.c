/* SPDX-License-Identifier: MIT */
#include "target/wait_site.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "target/wait.h"

#define AROUND	  192 /* bytes to each side: libc's functions are that short */
#define SITES_MAX 8

int wait_site_locate(const struct maps *maps, uint64_t address, struct wait_site *out)
{
	const struct mapping *m = maps_find(maps, address);

	if (!m)
		return -ENOENT;
	*out = (struct wait_site){.address = address,
		.offset = address - m->start + m->offset,
		.inode = m->inode,
		.major = m->major,
		.minor = m->minor};
	return 0;
}

bool wait_site_holds(const struct maps *maps, const struct wait_site *site)
{
	struct wait_site now;

	return wait_site_locate(maps, site->address, &now) == 0 && now.offset == site->offset &&
	       now.inode == site->inode && now.major == site->major && now.minor == site->minor;
}

#if defined(__x86_64__)

static const uint8_t system_call[] = {0x0f, 0x05};

/* mov $CALL,%eax; syscall */
size_t wait_sites_find(const uint8_t *code, size_t n, long call, size_t *out, size_t most)
{
	uint8_t wanted[] = {0xb8, (uint8_t)call, (uint8_t)(call >> 8), (uint8_t)(call >> 16),
		(uint8_t)(call >> 24), 0x0f, 0x05};
	size_t found = 0;

	for (size_t i = 0; i + sizeof(wanted) <= n && found < most; i++)
		if (memcmp(code + i, wanted, sizeof(wanted)) == 0)
			out[found++] = i + sizeof(wanted);
	return found;
}

#else
#error "this architecture is not supported yet"
#endif

int wait_site_check(int fd, uint64_t offset)
{
	uint8_t code[sizeof(system_call)];
	ssize_t n = offset < sizeof(code)
			    ? 0
			    : pread(fd, code, sizeof(code), (off_t)(offset - sizeof(code)));

	if (n < 0)
		return -errno;
	return n == sizeof(code) && memcmp(code, system_call, sizeof(code)) == 0 ? 0 : -EBADMSG;
}

ssize_t wait_sites_read(int procfd, pid_t tid, uint64_t pc, long call, uint64_t *out, size_t most)
{
	size_t offsets[SITES_MAX], found, added = 0;
	uint8_t code[2 * AROUND];
	int r = wait_read_memory(procfd, tid, pc - AROUND, code, sizeof(code));

	if (r < 0)
		return r;
	found = wait_sites_find(code, sizeof(code), call, offsets, SITES_MAX);
	for (size_t i = 0; i < found && added < most; i++)
		if (offsets[i] != AROUND)
			out[added++] = pc - AROUND + offsets[i];
	return (ssize_t)added;
}
