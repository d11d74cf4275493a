/* SPDX-License-Identifier: MIT */
#include "capture/holder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/holder_run.h"
#include "lib/cleanup.h"
#include "lib/io.h"

#define STATES_MAX (1ULL << 32)

static int receive(struct hold *h)
{
	struct hold_report report;
	int r = io_read_exact(h->sock, &report, sizeof(report));

	if (r < 0) {
		snprintf(h->reason, sizeof(h->reason), "the process that held it died");
		return r == -ENODATA ? -ECHILD : r;
	}
	report.reason[sizeof(report.reason) - 1] = '\0';
	memcpy(h->reason, report.reason, sizeof(h->reason));
	if (report.error)
		return report.error;
	h->way = (enum hold_way)report.way;
	h->clone = report.clone;
	h->dumpable = report.dumpable;
	h->frozen_ns = report.frozen_ns;
	h->pause_ns = report.pause_ns;
	if (report.states_size > STATES_MAX)
		return -E2BIG;
	h->states.bytes = malloc(report.states_size + 1);
	if (!h->states.bytes)
		return -ENOMEM;
	h->states.n = report.states;
	h->states.size = h->states.room = report.states_size;
	r = io_read_exact(h->sock, h->states.bytes, report.states_size);
	return r == 0 ? thread_states_check(&h->states) : r;
}

int hold_start(const struct hold_request *req, struct hold *out)
{
	struct hold h = {.sock = -1, .dumpable = -1};
	int ends[2], r;

	h.shared = mmap(
		NULL, sizeof(*h.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (h.shared == MAP_FAILED)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		r = -errno;
		munmap(h.shared, sizeof(*h.shared));
		return r;
	}
	h.pid = fork();
	if (h.pid == 0) {
		close(ends[0]);
		holder_run(req, h.shared, ends[1]);
	}
	r = h.pid < 0 ? -errno : 0;
	close(ends[1]);
	h.sock = ends[0];
	if (r == 0)
		r = receive(&h);
	*out = h;
	return r;
}

int hold_release(struct hold *h)
{
	const char word = HOLD_RELEASE;

	return send(h->sock, &word, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int hold_end(struct hold *h)
{
	const char word = HOLD_END;
	struct hold_last last;
	int status, r;

	if (h->sock < 0)
		return 0;
	send(h->sock, &word, 1, MSG_NOSIGNAL);
	r = io_read_exact(h->sock, &last, sizeof(last));
	cleanup_close(&h->sock);
	while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
		;
	h->pid = 0;
	if (r < 0)
		return r == -ENODATA ? -ECHILD : r;
	last.dropped[sizeof(last.dropped) - 1] = '\0';
	h->pause_ns = last.pause_ns;
	h->reaped = last.reaped;
	h->broken_off = last.broken_off;
	memcpy(h->dropped, last.dropped, sizeof(h->dropped));
	return 0;
}

void hold_free(struct hold *h)
{
	hold_end(h);
	thread_states_free(&h->states);
	if (h->shared)
		munmap(h->shared, sizeof(*h->shared));
	h->shared = NULL;
}
