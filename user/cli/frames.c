/* SPDX-License-Identifier: MIT */
#include "cli/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "target/maps.h"
#include "target/memory.h"

#define TIMEOUT_NS (500 * NSEC_PER_MSEC) /* the trip goes out then with what there is */
#define FRAMES_MAX 64

static struct unwind_request request_for(
	const struct event *e, const struct maps *maps, int procfd, int memfd)
{
	return (struct unwind_request){
		.procfd = procfd,
		.memfd = memfd,
		.maps = maps,
		.threads = &e->signal.registers,
		.thread_count = 1,
		.stack_start = e->signal.stack_start,
		.stack = e->signal.stack,
		.stack_size = e->signal.stack_size,
		.max_frames = FRAMES_MAX,
		.timeout_ns = TIMEOUT_NS,
	};
}

int frames_start(const struct event *e, struct unwind **out)
{
	_cleanup_process_ struct process process = PROCESS_NONE;
	_cleanup_memory_ struct memory memory = {.memfd = -1, .pagemapfd = -1, .taskfd = -1};
	_cleanup_maps_ struct maps maps = {};
	_cleanup_close_ int taskfd = -1;
	struct unwind_request request;
	int r = e->signal.has_registers ? process_open(e->process.pid, &process) : -ENODATA;

	if (r < 0)
		return r;
	if (process.start_ticks != e->process.start_ticks)
		return -ESRCH;
	taskfd = process_open_task(&process, e->process.tid);
	if (taskfd < 0)
		return taskfd;
	r = maps_read(taskfd, false, &maps);
	r = r < 0 ? r : memory_open(taskfd, &memory);
	if (r < 0)
		return r;
	if (maps.n == 0)
		return -ESRCH;
	request = request_for(e, &maps, process.procfd, memory.memfd);
	return unwind_start(&request, out);
}

/* Of a process that is gone the kernel side saw where in which file the instruction lay. Where that
 * file is the executable, and still there, it can name the function. frames_put() holds its build
 * ID against the kernel's. */
int frames_start_executable(const struct event *e, const struct identity *id, struct unwind **out)
{
	_cleanup_close_ int self = -1;
	struct mapping mapping = {.prot = PROT_READ | PROT_EXEC, .name = id->executable};
	const struct maps maps = {.v = &mapping, .n = 1};
	struct unwind_request request;
	struct stat st;

	if (!e->signal.has_registers || !e->signal.has_build_id || !id->executable ||
		id->executable[0] != '/')
		return -ENODATA;
	if (stat(id->executable, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || e->signal.build_id_offset >= (uint64_t)st.st_size)
		return -ESTALE;
	/* The instruction's page is enough to tell where the whole file lay. */
	mapping.start = e->signal.ip & ~(uint64_t)(MEMORY_PAGE - 1);
	mapping.end = mapping.start + MEMORY_PAGE;
	mapping.offset = e->signal.build_id_offset & ~(uint64_t)(MEMORY_PAGE - 1);
	mapping.inode = st.st_ino;
	mapping.major = major(st.st_dev);
	mapping.minor = minor(st.st_dev);
	self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self < 0)
		return -errno;
	request = request_for(e, &maps, self, -1);
	return unwind_start(&request, out);
}

static bool is_of_file(const json_t *frame, const struct event_signal *s)
{
	const char *found = json_get_text(frame, "build_id", NULL);
	char seen[2 * sizeof(s->build_id) + 1];

	if (!s->has_build_id)
		return true;
	for (size_t i = 0; i < sizeof(s->build_id); i++)
		snprintf(seen + 2 * i, 3, "%02x", s->build_id[i]);
	/* A build ID may be shorter than the kernel's field, which is then padded with zeros. */
	return found && strncmp(seen, found, strlen(found)) == 0;
}

bool frames_put(const struct event *e, json_t *threads, json_t *trip)
{
	json_t *stack = json_object_get(json_array_get(threads, 0), "stack");
	char signature[17];

	if (json_array_size(stack) == 0 || !is_of_file(json_array_get(stack, 0), &e->signal))
		return false;
	json_object_set(trip, "stack", stack);
	unwind_signature(e->signal.number, stack, signature);
	json_put_text(trip, "signature", signature);
	return true;
}
