/* SPDX-License-Identifier: MIT */
#include "probe/returns_helper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/isolate.h"
#include "probe/uprobe.h"
#include "target/mapped.h"
#include "target/process.h"

struct attached {
	struct attached *next;
	uint64_t id;
	struct uprobes probes;
};

static int attach_one(const struct bpf_program *program, const struct process *p, pid_t tid,
	const struct maps *maps, const struct wait_site *site, struct uprobes *probes)
{
	const struct mapping *m = maps_find(maps, site->address);
	_cleanup_close_ int fd = m ? mapped_open(p->procfd, tid, m) : -ENOENT;

	int r = fd < 0 ? fd : wait_site_check(fd, site->offset);

	if (!wait_site_holds(maps, site))
		return -ESTALE;
	return r < 0 ? r : uprobes_add(probes, program, tid, fd, site->offset, 0);
}

static int attach(const struct bpf_program *program, const struct returns_order *order,
	struct uprobes *probes)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	_cleanup_maps_ struct maps maps = {};
	_cleanup_close_ int taskfd = -1;
	int r = process_open(order->pid, &p);

	if (r == 0 && p.start_ticks != order->start_ticks)
		r = -ESRCH;
	if (r < 0)
		return r;
	taskfd = process_open_task(&p, order->tid);
	if (taskfd < 0)
		return taskfd == -ENOENT ? -ESRCH : taskfd;
	r = maps_read(taskfd, false, &maps);
	for (size_t i = 0; r == 0 && i < order->n; i++)
		r = attach_one(program, &p, order->tid, &maps, &order->places[i], probes);
	return r;
}

static int put_on(const struct bpf_program *program, const struct returns_order *order,
	struct attached **list)
{
	struct attached *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->id = order->id;
	r = attach(program, order, &a->probes);
	if (r < 0) {
		uprobes_remove(&a->probes);
		free(a);
		return r;
	}
	a->next = *list;
	*list = a;
	return 0;
}

static void take_off(struct attached **list, uint64_t id)
{
	for (struct attached **at = list; *at; at = &(*at)->next) {
		struct attached *a = *at;

		if (a->id != id)
			continue;
		*at = a->next;
		uprobes_remove(&a->probes);
		free(a);
		return;
	}
}

static void serve(const struct bpf_program *program, int socket)
{
	struct attached *list = NULL;
	struct returns_order order;
	ssize_t n;

	while ((n = recv(socket, &order, sizeof(order), 0)) != 0) {
		struct returns_answer answer = {.id = order.id};

		if (n != sizeof(order) || order.n > RETURNS_PLACES_MAX) {
			if (n < 0 && errno != EINTR)
				return;
			continue;
		}
		if (order.n == 0) {
			take_off(&list, order.id);
			continue;
		}
		answer.error = put_on(program, &order, &list);
		if (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			return;
	}
}

void returns_helper_run(const struct bpf_program *program, int socket, pid_t parent)
{
	const int keep[] = {socket, bpf_program__fd(program)};
	int signal_fd;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	sigemptyset(&none);
	if (getppid() == parent && isolate(keep, ARRAY_SIZE(keep), &none, &signal_fd) == 0)
		serve(program, socket);
	_exit(0);
}
