/* SPDX-License-Identifier: MIT */
/* inflight SLOW_MS PID…: prints a JSON line for each request of these processes (and of what they
 * fork) that crosses SLOW_MS, for each slow answer, for work
 * that lies unread so long, and at the end (SIGTERM, or end of input) for
 * what was lost. STEADY in the environment: ready is said once what is sent is no longer looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "probe/request_holder.h"
#include "probe/requests.h"
#include "rules/unread.h"
#include "target/go.h"
#include "target/process.h"
#include "target/stat.h"

#define SEEN_MAX 65536

struct watched {
	pid_t pid;
	struct unread_state *state;
	uint64_t told;
};

struct seen {
	uint64_t cookie, number;
};

static void print(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static json_t *describe(const char *kind, const struct request *r)
{
	json_t *line = json_object();
	char text[ENDPOINT_TEXT];

	json_put_text(line, "kind", kind);
	json_put_int(line, "pid", r->pid);
	json_put_int(line, "reader", r->tid);
	json_put_int(line, "age_ms", (int64_t)(r->age_ns / NSEC_PER_MSEC));
	json_put_int(line, "bytes_in", (int64_t)(r->bytes_in + r->unread));
	json_put_text(line, "protocol", request_protocol_name(r->protocol));
	json_put_text(line, "method", r->method);
	json_put_text(line, "path", r->path);
	json_put_bool(line, "redacted", r->redacted);
	json_put_bool(line, "pipelined", r->pipelined);
	json_put_text(line, "peer", endpoint_format(&r->peer, text, sizeof(text)));
	json_put_text(line, "local", endpoint_format(&r->local, text, sizeof(text)));
	json_put_text(line, "traceparent", r->traceparent);
	json_put_text(line, "request_id", r->request_id);
	json_put_int(line, "status", r->status);
	json_put_int(line, "goroutine", (int64_t)r->goroutine);
	return line;
}

static void print_peers(struct requests *requests, pid_t pid)
{
	struct outbound *peers = NULL;
	char text[ENDPOINT_TEXT];
	size_t n = 0;

	if (requests_outbound(requests, pid, 500 * NSEC_PER_MSEC, &peers, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		json_t *line = json_object();

		json_put_text(line, "kind", "peer");
		json_put_int(line, "pid", pid);
		json_put_int(line, "age_ms", (int64_t)(peers[i].age_ns / NSEC_PER_MSEC));
		json_put_text(line, "peer", endpoint_format(&peers[i].peer, text, sizeof(text)));
		print(line);
	}
	free(peers);
}

static void print_crossing(struct requests *requests, const struct request *r)
{
	static const char *const holders[] = {
		[HOLDER_THREAD] = "thread",
		[HOLDER_HANDED_OFF] = "handed-off",
		[HOLDER_CLIENT] = "client",
	};
	_cleanup_process_ struct process p = PROCESS_NONE;
	struct thread_wait wait = {.call = -1};
	json_t *line = describe("slow", r);
	char *call;

	if (process_open(r->pid, &p) == 0) {
		json_put_text(
			line, "holder", holders[request_find_holder(requests, p.procfd, r, &wait)]);
		call = wait_call_name(&wait);
		json_put_text(line, "call", call ? call : "");
		json_put_text(line, "channel", wait.channel);
		free(call);
	}
	print_peers(requests, r->pid);
	print(line);
}

static bool is_new(struct seen *seen, size_t *n, const struct request *r)
{
	for (size_t i = 0; i < *n; i++)
		if (seen[i].cookie == r->cookie && seen[i].number == r->number)
			return false;
	if (*n < SEEN_MAX)
		seen[(*n)++] = (struct seen){r->cookie, r->number};
	return true;
}

static int pass(struct requests *requests, struct seen *seen, size_t *seen_count)
{
	const struct request *found;
	struct request answer;
	size_t n;
	int r = requests_scan(requests, &found, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (is_new(seen, seen_count, &found[i]))
			print_crossing(requests, &found[i]);
	while ((r = requests_next(requests, &answer)) > 0)
		print(describe("answer", &answer));
	return r;
}

/* What lies unread in one process' sockets: told once for each time that nothing was taken. */
static int pass_unread(struct requests *requests, struct watched *w, uint64_t slow_ns)
{
	struct unread *sockets = NULL;
	const struct unread *worst;
	uint64_t held;
	size_t n = 0;
	json_t *line;
	int r = requests_unread(requests, w->pid, &sockets, &n);

	if (r == 0)
		r = unread_state_pass(
			w->state, sockets, n, clock_now_ns(CLOCK_BOOTTIME), &worst, &held);
	if (r == 0 && worst && held >= slow_ns && w->told != worst->inode + worst->position) {
		w->told = worst->inode + worst->position;
		line = json_object();
		json_put_text(line, "kind", "unread");
		json_put_int(line, "pid", w->pid);
		json_put_int(line, "held_ms", (int64_t)(held / NSEC_PER_MSEC));
		json_put_int(line, "waiting", worst->waiting);
		json_put_int(line, "room", worst->room);
		json_put_bool(line, "listens", worst->listens);
		print(line);
	}
	free(sockets);
	return r;
}

static void print_losses(struct requests *requests)
{
	struct probe_loss losses[PROBE_LOSSES_MAX];
	int n = requests_losses(requests, losses);

	for (int i = 0; i < n; i++) {
		json_t *line = json_object();

		json_put_text(line, "kind", "loss");
		json_put_text(line, "reason", losses[i].reason);
		json_put_int(line, "count", (int64_t)losses[i].count);
		print(line);
	}
}

static int mark(struct probe *probe, const char *text)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	int r = process_open(atoi(text), &p);

	return r < 0 ? r : probe_mark(probe, p.pid, p.start_ticks, 0, PROBE_WATCH_TREE);
}

static void add_go(struct requests *requests, pid_t pid)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	uint32_t offset;

	if (process_open(pid, &p) == 0 && go_read_goid_offset(p.procfd, &offset) == 0)
		requests_add_go(requests, pid, offset);
}

static void print_sends(bool seen)
{
	json_t *line = json_object();

	json_put_text(line, "kind", "sends");
	json_put_bool(line, "seen", seen);
	print(line);
}

/* What is sent is looked at during the first second, too. */
static int await_steady(struct requests *requests, uint64_t slow_ns)
{
	const struct request *found;
	size_t n;
	int r = 0;

	while (r >= 0 && requests_sees_sends(requests)) {
		poll(NULL, 0, (int)(requests_interval_ns(slow_ns) / NSEC_PER_MSEC));
		r = requests_scan(requests, &found, &n);
	}
	return r;
}

static int run(uint64_t slow_ns, struct requests *requests, char **pids, size_t pid_count)
{
	struct watched *watched = calloc(pid_count, sizeof(*watched));
	struct seen *seen = calloc(SEEN_MAX, sizeof(*seen));
	bool seen_sends;
	size_t n = 0;
	sigset_t stop;
	struct pollfd ends[2];
	int r = 0;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	ends[0] = (struct pollfd){.fd = signalfd(-1, &stop, SFD_CLOEXEC), .events = POLLIN};
	ends[1] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	for (size_t i = 0; r >= 0 && i < pid_count; i++) {
		watched[i].pid = atoi(pids[i]);
		add_go(requests, watched[i].pid);
		r = unread_state_new(&watched[i].state);
	}
	if (r >= 0 && getenv("STEADY"))
		r = await_steady(requests, slow_ns);
	seen_sends = requests_sees_sends(requests);
	puts("{\"kind\":\"ready\"}");
	fflush(stdout);
	while (r >= 0 && poll(ends, 2, (int)(requests_interval_ns(slow_ns) / NSEC_PER_MSEC)) == 0) {
		r = pass(requests, seen, &n);
		if (seen_sends != requests_sees_sends(requests)) {
			seen_sends = !seen_sends;
			print_sends(seen_sends);
		}
		for (size_t i = 0; r >= 0 && i < pid_count; i++)
			r = pass_unread(requests, &watched[i], slow_ns);
	}
	print_losses(requests);
	close(ends[0].fd);
	for (size_t i = 0; i < pid_count; i++)
		unread_state_free(watched[i].state);
	free(watched);
	free(seen);
	return r;
}

int main(int argc, char **argv)
{
	const struct probe_options nothing = {0};
	struct requests_options options = {0};
	struct requests *requests = NULL;
	struct probe *probe = NULL;
	int r;

	if (argc < 3)
		return 2;
	if (getenv("DEBUG"))
		log_set_level(LOG_LEVEL_DEBUG);
	options.slow_ns = strtoull(argv[1], NULL, 10) * NSEC_PER_MSEC;
	r = probe_open(&nothing, &probe);
	options.probe = probe;
	for (int i = 2; r >= 0 && i < argc; i++)
		r = mark(probe, argv[i]);
	if (r >= 0)
		r = requests_open(&options, &requests);
	if (r >= 0)
		r = run(options.slow_ns, requests, argv + 2, (size_t)argc - 2);
	if (r < 0)
		fprintf(stderr, "inflight: %s\n", strerror(-r));
	requests_close(requests);
	probe_close(probe);
	return r < 0;
}
