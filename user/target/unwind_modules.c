/* SPDX-License-Identifier: MIT */
#include "target/unwind_modules.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "target/mapped.h"

#define VDSO_MAX (1u << 20)

static int find_file(const struct unwind_modules *out, const struct mapping *m)
{
	/* Backwards: mappings of one file lie together. */
	for (size_t i = out->file_count; i-- > 0;) {
		const struct mapping *o = out->files[i].mapping;

		if (o->inode == m->inode && o->major == m->major && o->minor == m->minor)
			return (int)i;
	}
	return -1;
}

static int add_file(struct unwind_modules *out, const struct mapping *m, int procfd, pid_t tid)
{
	struct unwind_file *files;
	int fd;

	if (out->file_count % 64 == 0) {
		files = reallocarray(out->files, out->file_count + 64, sizeof(*files));
		if (!files)
			return -ENOMEM;
		out->files = files;
	}
	fd = mapped_open(procfd, tid, m);
	out->files[out->file_count++] = (struct unwind_file){
		.mapping = m, .fd = fd < 0 ? -1 : fd, .error = fd < 0 ? fd : 0};
	return 0;
}

static int add_mapping(struct unwind_modules *out, const struct mapping *m, int procfd, pid_t tid)
{
	int at = find_file(out, m);

	if (at < 0 && out->file_count >= UNWIND_FILES_MAX) {
		out->left_out++;
		return 0;
	}
	if (at < 0) {
		int r = add_file(out, m, procfd, tid);

		if (r < 0)
			return r;
		at = (int)out->file_count - 1;
	}
	if (out->load_count % 256 == 0) {
		struct unwind_load *loads =
			reallocarray(out->loads, out->load_count + 256, sizeof(*loads));

		if (!loads)
			return -ENOMEM;
		out->loads = loads;
	}
	out->loads[out->load_count++] = (struct unwind_load){.mapping = m, .file = (size_t)at};
	return 0;
}

/* Without the process' memory this process' own vDSO serves: one kernel has one image for all
 * 64-bit programs. */
static int read_vdso(struct unwind_modules *out, const struct mapping *m, int memfd)
{
	size_t size = m->end - m->start;
	const void *own =
		(const void *)getauxval(AT_SYSINFO_EHDR); // NOLINT(performance-no-int-to-ptr)
	_cleanup_free_ void *image = NULL;

	if (size < sizeof(Elf64_Ehdr) || size > VDSO_MAX)
		return 0;
	image = malloc(size);
	if (!image)
		return -ENOMEM;
	if (memfd < 0 || pread(memfd, image, size, (off_t)m->start) != (ssize_t)size) {
		/* mincore: the own one might be smaller; it fails where there is no mapping. */
		unsigned char pages[VDSO_MAX / 4096];

		if (!own || mincore((void *)own, size, pages) < 0)
			return 0;
		memcpy(image, own, size);
	}
	free(out->vdso);
	out->vdso = TAKE_PTR(image);
	out->vdso_size = size;
	out->vdso_start = m->start;
	return 0;
}

int unwind_modules_open(
	int procfd, int memfd, pid_t tid, const struct maps *maps, struct unwind_modules *out)
{
	struct rlimit rl;

	/* A soft limit of 1,024 is for programs that use select(); this one does not. */
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *m = &maps->v[i];
		int r = 0;

		if (!(m->prot & PROT_EXEC))
			continue;
		if (strcmp(m->name, "[vdso]") == 0)
			r = read_vdso(out, m, memfd);
		else if (m->inode && procfd >= 0)
			r = add_mapping(out, m, procfd, tid);
		if (r < 0)
			return r;
	}
	return 0;
}

void unwind_modules_free(struct unwind_modules *m)
{
	for (size_t i = 0; i < m->file_count; i++)
		if (m->files[i].fd >= 0)
			close(m->files[i].fd);
	free(m->files);
	free(m->loads);
	free(m->vdso);
	*m = (struct unwind_modules){0};
}
