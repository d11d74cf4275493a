/* SPDX-License-Identifier: MIT */
#include "capture/broker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "capture/broker_wire.h"
#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/json.h"

#define SUFFIX ".sock"

enum conversation_state {
	CONNECTED, /* has not asked yet */
	ASKED,
	ANSWERED, /* is expected to say what became of it */
};

struct conversation {
	struct conversation *next;
	uint64_t id;
	int fd;
	enum conversation_state state;
	struct broker_question question;
};

struct broker {
	int epollfd, listenfd, runtimefd;
	pid_t pid;
	uid_t peer;
	char name[RUNTIME_NAME_MAX + sizeof(SUFFIX)];
	struct conversation *all;
	size_t count;
	uint64_t last_id;
};

void broker_message_free(struct broker_message *m)
{
	json_decref(m->result);
	m->result = NULL;
}

static void conversation_end(struct broker *b, struct conversation *ended)
{
	for (struct conversation **c = &b->all; *c; c = &(*c)->next) {
		if (*c != ended)
			continue;
		*c = ended->next;
		b->count--;
		break;
	}
	/* A forked worker may hold copies of the descriptor: close() alone would neither hang up
	 * nor end the watch. */
	epoll_ctl(b->epollfd, EPOLL_CTL_DEL, ended->fd, NULL);
	shutdown(ended->fd, SHUT_RDWR);
	close(ended->fd);
	free(ended);
}

void broker_close(struct broker **broker)
{
	struct broker *b = *broker;

	if (!b)
		return;
	while (b->all)
		conversation_end(b, b->all);
	if (b->listenfd >= 0 && b->pid == getpid())
		unlinkat(b->runtimefd, b->name, 0);
	cleanup_close(&b->listenfd);
	cleanup_close(&b->epollfd);
	cleanup_close(&b->runtimefd);
	free(b);
	*broker = NULL;
}

static int watch_fd(const struct broker *b, int fd, void *ptr)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = ptr};

	return epoll_ctl(b->epollfd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* sun_path holds 108 bytes; by way of the directory's descriptor it fits wherever that lies. */
static struct sockaddr_un address_below(int runtimefd, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%.64s", runtimefd,
		name);
	return address;
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

static int listen_below(int runtimefd, const char *name)
{
	_cleanup_close_ int fd = new_socket();
	const struct sockaddr_un address = address_below(runtimefd, name);

	if (fd < 0)
		return fd;
	if (unlinkat(runtimefd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	/* The directory is 0700: nobody can connect between the two calls. */
	if (fchmodat(runtimefd, name, 0600, 0) < 0 || listen(fd, BROKER_CONVERSATIONS) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* Its process is gone, as far as can be seen from here, and nobody listens either: who starts has
 * bound its socket, but not listened yet; who lives in another PID namespace listens. */
static bool is_left(int runtimefd, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	uint64_t start_ticks;
	struct stat st;
	pid_t pid;

	if (runtime_parse_name(name, SUFFIX, &pid, &start_ticks) < 0 ||
		runtime_is_alive(pid, start_ticks) ||
		fstatat(runtimefd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = new_socket();
	address = address_below(runtimefd, name);
	return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
	       errno == ECONNREFUSED;
}

/* Nobody else takes away the sockets of those that were killed. */
static void sweep(int runtimefd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;

	if (io_open_dir_at(runtimefd, ".", &dir) < 0)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (is_left(runtimefd, entry->d_name))
			unlinkat(runtimefd, entry->d_name, 0);
}

int broker_open_at(int runtimefd, uid_t peer, struct broker **out)
{
	_cleanup_broker_ struct broker *b = calloc(1, sizeof(*b));
	char owner[RUNTIME_NAME_MAX];
	int r;

	if (!b)
		return -ENOMEM;
	*b = (struct broker){.epollfd = -1, .listenfd = -1, .pid = getpid(), .peer = peer};
	b->runtimefd = fcntl(runtimefd, F_DUPFD_CLOEXEC, 3);
	if (b->runtimefd < 0)
		return -errno;
	b->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (b->epollfd < 0)
		return -errno;
	r = runtime_own_name(owner);
	if (r < 0)
		return r;
	sweep(b->runtimefd);
	snprintf(b->name, sizeof(b->name), "%s" SUFFIX, owner);
	b->listenfd = listen_below(b->runtimefd, b->name);
	if (b->listenfd < 0)
		return b->listenfd;
	r = watch_fd(b, b->listenfd, NULL);
	if (r < 0)
		return r;
	*out = TAKE_PTR(b);
	return 0;
}

int broker_open(struct broker **out)
{
	_cleanup_close_ int runtimefd = -1;
	int r = runtime_open(RUNTIME_DIRECTORY, 1, &runtimefd);

	return r < 0 ? r : broker_open_at(runtimefd, 0, out);
}

int broker_fd(const struct broker *b)
{
	return b->epollfd;
}

/* 1 when one was taken, 0 when none waits. */
static int accept_one(struct broker *b)
{
	_cleanup_close_ int fd = accept4(b->listenfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conversation *c;
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t size = sizeof(peer);
	int r;

	if (fd < 0)
		return errno == EAGAIN ? 0 : errno == ECONNABORTED || errno == EINTR ? 1 : -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != b->peer)
		return 1;
	if (b->count >= BROKER_CONVERSATIONS)
		return 1; /* hung up: the handler sees no answer, and does without one */
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct conversation){.next = b->all, .id = ++b->last_id, .fd = fd};
	r = watch_fd(b, fd, c);
	if (r < 0) {
		free(c);
		return r;
	}
	TAKE_FD(fd);
	b->all = c;
	b->count++;
	return 1;
}

/* Takes what a handler sent. 1 when *out is filled. */
static int converse(struct broker *b, struct conversation *c, struct broker_message *out)
{
	_cleanup_json_ json_t *json = NULL;
	int r = wire_receive(c->fd, &json, NULL);

	if (r == -EAGAIN)
		return 0;
	if (r == 1 && c->state == CONNECTED && wire_parse_question(json, &c->question) == 0) {
		c->state = ASKED;
		*out = (struct broker_message){
			.kind = BROKER_ASK, .conversation = c->id, .question = c->question};
		return 1;
	}
	if (r == 1 && c->state == CONNECTED && wire_parse_inquiry(json, &c->question.pid) == 0) {
		c->state = ASKED;
		*out = (struct broker_message){
			.kind = BROKER_WHY, .conversation = c->id, .question = c->question};
		return 1;
	}
	*out = (struct broker_message){
		.kind = BROKER_GONE, .conversation = c->id, .question = c->question};
	if (r == 1 && c->state == ANSWERED) {
		out->kind = BROKER_DONE;
		out->result = TAKE_PTR(json);
	}
	/* The end, or nonsense: either way it is over. Who never asked is nobody's concern. */
	r = c->state == CONNECTED ? 0 : 1;
	conversation_end(b, c);
	return r;
}

int broker_receive(struct broker *b, struct broker_message *out)
{
	for (;;) {
		struct epoll_event event;
		int r, n = epoll_wait(b->epollfd, &event, 1, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		if (!event.data.ptr) {
			r = accept_one(b);
			if (r < 0)
				return r;
			continue;
		}
		r = converse(b, event.data.ptr, out);
		if (r != 0)
			return r;
	}
}

static struct conversation *find_asked(const struct broker *b, uint64_t conversation)
{
	struct conversation *c = b->all;

	while (c && c->id != conversation)
		c = c->next;
	return c && c->state == ASKED ? c : NULL;
}

int broker_tell(struct broker *b, uint64_t conversation, const json_t *reply)
{
	struct conversation *c = find_asked(b, conversation);
	int r = c ? wire_send(c->fd, reply, -1) : -ENOENT;

	if (c && r != -EMSGSIZE)
		conversation_end(b, c);
	return r;
}

int broker_answer(struct broker *b, uint64_t conversation, const struct decision *decision,
	const json_t *event, int output_fd)
{
	_cleanup_json_ json_t *json = NULL;
	struct conversation *c = find_asked(b, conversation);
	int r;

	if (!c)
		return -ENOENT;
	json = wire_answer(decision, event);
	r = json ? wire_send(c->fd, json, output_fd) : -ENOMEM;
	/* Too large to send: the caller may try with less. */
	if (r == -EMSGSIZE)
		return r;
	if (r < 0 || !decision->capture)
		conversation_end(b, c);
	else
		c->state = ANSWERED;
	return r;
}
