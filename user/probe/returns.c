/* SPDX-License-Identifier: MIT */
#include "probe/returns.h"

#include <abi.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stall.skel.h"
#include "lib/child.h"
#include "lib/cleanup.h"
#include "probe/bpf_log.h"
#include "probe/returns_helper.h"
#include "target/stat.h"

#define RING_BYTES 65536
#define ASKED_MAX  32 /* each takes the helper some 15 ms */

_Static_assert(RETURNS_TOLD == CT_ROUNDS_TOLD && RETURNS_RATE_MAX == CT_FIRINGS_MAX,
	"what is said to the outside");

struct returns {
	struct stall_bpf *skeleton;
	struct ring_buffer *ring;
	pid_t helper;
	int helper_procfd;
	int socket; /* to it */
	bool begun_again;
	int epollfd; /* of the ring and the socket */
	uint64_t last_id;
	unsigned int asked; /* and not answered */
};

static int ignore(void *arg, void *record, size_t size)
{
	(void)arg;
	(void)record;
	(void)size;
	return 0;
}

/* Of the maps that all programs' headers bring along, these have nobody who uses them here. */
static int prepare(struct stall_bpf *s)
{
	bpf_map__set_autocreate(s->maps.deaths, false);
	bpf_map__set_autocreate(s->maps.reported, false);
	bpf_map__set_autocreate(s->maps.marks, false);
	bpf_program__set_autoload(s->progs.stall_return, true);
	return bpf_map__set_max_entries(s->maps.events, RING_BYTES);
}

static int watch_fd(const struct returns *r, int fd)
{
	struct epoll_event interest = {.events = EPOLLIN};

	return epoll_ctl(r->epollfd, EPOLL_CTL_ADD, fd, &interest) < 0 ? -errno : 0;
}

static int start_helper(struct returns *r)
{
	pid_t parent = getpid();
	char path[32];
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	r->socket = ends[0];
	r->helper = fork();
	if (r->helper == 0)
		returns_helper_run(r->skeleton->progs.stall_return, ends[1], parent);
	close(ends[1]);
	if (r->helper < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d", (int)r->helper);
	r->helper_procfd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	return r->helper_procfd < 0 ? -errno : watch_fd(r, r->socket);
}

static void cleanup_returns(struct returns **r)
{
	returns_close(*r);
}

int returns_open(struct returns **out)
{
	__attribute__((cleanup(cleanup_returns))) struct returns *r = calloc(1, sizeof(*r));
	int error;

	if (!r)
		return -ENOMEM;
	bpf_log_start();
	r->socket = r->helper_procfd = r->epollfd = -1;
	r->skeleton = stall_bpf__open();
	if (!r->skeleton)
		return -errno;
	error = prepare(r->skeleton);
	error = error < 0 ? error : stall_bpf__load(r->skeleton);
	if (error < 0)
		return error;
	r->ring = ring_buffer__new(bpf_map__fd(r->skeleton->maps.events), ignore, NULL, NULL);
	if (!r->ring)
		return -errno;
	r->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (r->epollfd < 0)
		return -errno;
	error = watch_fd(r, ring_buffer__epoll_fd(r->ring));
	error = error < 0 ? error : start_helper(r);
	if (error < 0)
		return error;
	*out = TAKE_PTR(r);
	return 0;
}

static void leave_helper(struct returns *r)
{
	if (r->helper > 0)
		child_end(r->helper, "probes");
	r->helper = 0;
	r->asked = 0;
	if (r->socket >= 0) /* other children may have it open, so closing it is not enough */
		epoll_ctl(r->epollfd, EPOLL_CTL_DEL, r->socket, NULL);
	cleanup_close(&r->socket);
	cleanup_close(&r->helper_procfd);
}

static int lose_helper(struct returns *r)
{
	leave_helper(r);
	if (!r->begun_again && start_helper(r) < 0)
		leave_helper(r);
	r->begun_again = true;
	return -EPIPE;
}

bool returns_holds(const struct returns *r)
{
	struct stat_line line;

	return r->helper > 0 && stat_read(r->helper_procfd, &line) == 0 && !line.exiting;
}

/* It does what it was told before, and has nothing left then. */
static void end_helper(struct returns *r)
{
	const struct timeval patience = {.tv_sec = 2};
	struct returns_answer answer;

	if (r->helper <= 0)
		return;
	setsockopt(r->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	shutdown(r->socket, SHUT_WR);
	while (recv(r->socket, &answer, sizeof(answer), 0) > 0)
		;
	leave_helper(r);
}

void returns_close(struct returns *r)
{
	if (!r)
		return;
	end_helper(r);
	leave_helper(r);
	cleanup_close(&r->epollfd);
	ring_buffer__free(r->ring);
	stall_bpf__destroy(r->skeleton);
	free(r);
}

int returns_fd(const struct returns *r)
{
	return r->epollfd;
}

void returns_clear(struct returns *r)
{
	ring_buffer__consume(r->ring);
}

static int begin_counting(struct returns *r, pid_t pid)
{
	const struct ct_firing none = {};
	__u32 key = (__u32)pid;

	return bpf_map__update_elem(
		r->skeleton->maps.firings, &key, sizeof(key), &none, sizeof(none), BPF_ANY);
}

static void end_counting(struct returns *r, pid_t pid)
{
	__u32 key = (__u32)pid;

	bpf_map__delete_elem(r->skeleton->maps.firings, &key, sizeof(key), 0);
}

int returns_begin(struct returns *r, const struct process *p, pid_t tid,
	const struct wait_site *places, size_t n, uint64_t *id)
{
	struct returns_order order = {.id = r->last_id + 1,
		.n = n,
		.pid = p->pid,
		.tid = tid,
		.start_ticks = p->start_ticks};
	int error;

	if (n == 0 || n > RETURNS_PLACES_MAX)
		return -EINVAL;
	if (r->helper <= 0)
		return -EPIPE;
	if (r->asked >= ASKED_MAX)
		return -EAGAIN;
	memcpy(order.places, places, n * sizeof(*places));
	error = begin_counting(r, p->pid);
	if (error < 0)
		return error;
	if (send(r->socket, &order, sizeof(order), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		error = errno == EPIPE || errno == ECONNRESET ? -EAGAIN
							      : -errno; /* that is noticed */
		end_counting(r, p->pid);
		return error;
	}
	r->asked++;
	*id = ++r->last_id;
	return 0;
}

int returns_answer(struct returns *r, uint64_t *id, int *error)
{
	struct returns_answer answer;
	ssize_t n;

	if (r->helper <= 0)
		return 0;
	n = recv(r->socket, &answer, sizeof(answer), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != sizeof(answer))
		return lose_helper(r);
	r->asked--;
	*id = answer.id;
	*error = (int)answer.error;
	return 1;
}

/* May have to wait for the helper, where very many end at once. */
void returns_end(struct returns *r, pid_t pid, uint64_t id)
{
	const struct returns_order order = {.id = id};

	end_counting(r, pid);
	while (send(r->socket, &order, sizeof(order), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

bool returns_is_over(const struct returns *r, pid_t pid)
{
	__u32 key = (__u32)pid;
	struct ct_firing f;

	return bpf_map__lookup_elem(
		       r->skeleton->maps.firings, &key, sizeof(key), &f, sizeof(f), 0) == 0 &&
	       f.over;
}

int returns_add(struct returns *r, pid_t tid, uint64_t first)
{
	const struct ct_suspect none = {.first = first};
	__u32 key = (__u32)tid;

	return bpf_map__update_elem(
		r->skeleton->maps.suspects, &key, sizeof(key), &none, sizeof(none), BPF_ANY);
}

void returns_remove(struct returns *r, pid_t tid)
{
	__u32 key = (__u32)tid;

	bpf_map__delete_elem(r->skeleton->maps.suspects, &key, sizeof(key), 0);
}

int returns_read(const struct returns *r, pid_t tid, uint64_t *rounds, uint64_t *last_ns)
{
	__u32 key = (__u32)tid;
	struct ct_suspect s;
	int error = bpf_map__lookup_elem(
		r->skeleton->maps.suspects, &key, sizeof(key), &s, sizeof(s), 0);

	if (error < 0)
		return error;
	*rounds = s.rounds;
	*last_ns = s.last_ns;
	return 0;
}
