/* SPDX-License-Identifier: MIT */
#include "probe/request_pages.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "probe/bpf_pass.h"

#define ARRIVAL_MS 1000 /* over the loopback, which takes none */

/* A TCP connection to ourselves, of which ENDS[1] is read. The caller's to close, whatever comes
 * of it. */
static bool connect_self(int ends[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	_cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&a, size) < 0 ||
		listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&a, &size) < 0)
		return false;
	ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ends[0] < 0 ||
		(connect(ends[0], (struct sockaddr *)&a, size) < 0 && errno != EINPROGRESS))
		return false;
	if (poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, ARRIVAL_MS) != 1)
		return false;
	ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return ends[1] >= 0;
}

/* Whether the programs find SAMPLE, which waits at a socket of this process. */
static bool finds(struct request_bpf *s, const char *sample)
{
	_cleanup_close_ int fd = -1;
	char found[64 * CT_PAGES_SAMPLE];
	struct bpf_link *link;
	size_t held = 0;
	ssize_t n;

	s->bss->sockets_tgid = (__u32)getpid();
	link = bpf_pass_attach(s->progs.request_pages, getpid());
	if (!link)
		return false;
	fd = bpf_iter_create(bpf_link__fd(link));
	bpf_link__destroy(link);
	if (fd < 0)
		return false;
	while (held < sizeof(found) &&
		(n = bpf_pass_read(fd, found + held, sizeof(found) - held)) > 0)
		held += (size_t)n;
	for (size_t at = 0; at + CT_PAGES_SAMPLE <= held; at += CT_PAGES_SAMPLE)
		if (memcmp(found + at, sample, CT_PAGES_SAMPLE) == 0)
			return true;
	return false;
}

bool request_pages_check(struct request_bpf *s)
{
	char sample[CT_PAGES_SAMPLE];
	int ends[2] = {-1, -1};
	bool found = false;

	if (getrandom(sample, sizeof(sample), 0) == sizeof(sample) && connect_self(ends) &&
		send(ends[0], sample, sizeof(sample), MSG_NOSIGNAL) == sizeof(sample) &&
		poll(&(struct pollfd){.fd = ends[1], .events = POLLIN}, 1, ARRIVAL_MS) == 1)
		found = finds(s, sample);
	cleanup_close(&ends[0]);
	cleanup_close(&ends[1]);
	return found;
}
