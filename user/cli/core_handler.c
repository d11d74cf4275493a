/* SPDX-License-Identifier: MIT */
/* coretrap core-handler: what the kernel starts for a dying process (kernel.core_pattern), with the
 * process' core on descriptor 0. As long as that pipe has a reader and the core lies unread in it,
 * the process stays as it was.
 *
 * This process reads no more of the pipe than the registers and waits on nothing but pipes and
 * sockets, so that it can always be killed; what may hang on a disk is a worker's, which does not
 * have the pipe. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/broker_client.h"
#include "capture/preflight.h"
#include "capture/registry.h"
#include "capture/runtime.h"
#include "cli/capture_job.h"
#include "cli/capture_result.h"
#include "cli/commands.h"
#include "cli/handler_guard.h"
#include "cli/handler_passthrough.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/signals.h"
#include "lib/text.h"
#include "target/stat.h"

/* From the start of the handler on; each leaves the one above the time to say what happened. */
#define ANSWER_NS  (5 * NSEC_PER_SEC)
#define SLOT_NS	   (45 * NSEC_PER_SEC)
#define CORE_NS	   (55 * NSEC_PER_SEC) /* the core writer closes the file */
#define WORKER_NS  (58 * NSEC_PER_SEC) /* a worker that has not ended is killed */
#define HANDLER_NS (60 * NSEC_PER_SEC) /* the process is let go */
#define SLOTS	   2

struct handler {
	uint64_t start_ns;
	mode_t umask;
	int tie; /* to the guard */
	int runtimefd;
	int slotfd;
	struct broker_question question;
	const char *cpu, *hostname;
	struct process process;
	int taskfd;
	struct notes notes;
};

static void handler_end(struct handler *h)
{
	cleanup_close(&h->tie);
	cleanup_close(&h->runtimefd);
	cleanup_close(&h->slotfd);
	cleanup_close(&h->taskfd);
	process_close(&h->process);
	notes_free(&h->notes);
}
#define _cleanup_handler_ __attribute__((cleanup(handler_end)))

/* The kernel opens nothing but descriptor 0: without this, the first file opened would be standard
 * error. */
static void open_standard(void)
{
	int fd = open("/dev/null", O_RDWR);

	while (fd >= 0 && fd < 2)
		fd = open("/dev/null", O_RDWR);
	if (fd > 2)
		close(fd);
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0) {
		dup3(fd, STDERR_FILENO, O_CLOEXEC);
		close(fd);
	}
	fcntl(STDOUT_FILENO, F_SETFD, FD_CLOEXEC);
}

static int number(const char *text, uint64_t max, uint64_t *out)
{
	int r = text_parse_u64(text, out);

	return r == 0 && *out > max ? -ERANGE : r;
}

/* core-handler %P %I %s %t %d %c %u %g %C %h: registry_pattern()'s arguments. */
static int parse(int argc, char **argv, struct handler *h)
{
	static const uint64_t max[] = {
		INT32_MAX, INT32_MAX, 64, INT64_MAX, 2, UINT64_MAX, UINT32_MAX, UINT32_MAX};
	uint64_t v[ARRAY_SIZE(max)];

	if (argc != 11)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(max); i++) {
		int r = number(argv[i + 1], max[i], &v[i]);

		if (r < 0)
			return r;
	}
	if (v[0] == 0 || v[1] == 0 || v[2] == 0)
		return -EINVAL;
	h->question = (struct broker_question){.pid = (pid_t)v[0],
		.tid = (pid_t)v[1],
		.signal = (int)v[2],
		.time = (int64_t)v[3],
		.dump_mode = (int)v[4],
		.core_limit = v[5],
		.uid = (uid_t)v[6],
		.gid = (gid_t)v[7]};
	h->cpu = argv[9];
	h->hostname = argv[10];
	return 0;
}

/* "CoreDumping: 1": this is the process that the kernel started us for, not one that got its id
 * later. */
static bool is_dumping(int taskfd)
{
	_cleanup_free_ char *status = NULL;

	return io_read_file_at(taskfd, "status", 65536, &status, NULL) == 0 &&
	       strstr(status, "\nCoreDumping:\t1\n");
}

static int open_target(struct handler *h)
{
	struct stat_line stat;
	int r = process_open(h->question.pid, &h->process);

	if (r < 0)
		return r;
	h->taskfd = process_open_task(&h->process, h->question.tid);
	if (h->taskfd < 0)
		return h->taskfd;
	if (!is_dumping(h->taskfd))
		return -ESRCH;
	r = stat_read(h->taskfd, &stat);
	if (r < 0)
		return r;
	h->question.start_ticks = h->process.start_ticks;
	memcpy(h->question.comm, stat.comm, sizeof(h->question.comm));
	return 0;
}

/* coretrap captured by coretrap would wait for itself. */
static bool is_own_process(const struct handler *h)
{
	struct statx ours, theirs;

	if (strcmp(h->question.comm, PREFLIGHT_LAB_COMM) == 0)
		return false;
	/* Without a word to the file system, which may hang, or belong to the dying process. */
	return statx(AT_FDCWD, "/proc/self/exe", AT_STATX_DONT_SYNC, STATX_INO, &ours) == 0 &&
	       statx(h->taskfd, "exe", AT_STATX_DONT_SYNC, STATX_INO, &theirs) == 0 &&
	       ours.stx_dev_major == theirs.stx_dev_major &&
	       ours.stx_dev_minor == theirs.stx_dev_minor && ours.stx_ino == theirs.stx_ino;
}

/* Without what does not fit into a message. */
static json_t *success(json_t *incident)
{
	static const char *const dispensable[] = {"threads", "stack"};
	_cleanup_json_ json_t *result = capture_result_success(incident);

	for (size_t i = 0; result && i < ARRAY_SIZE(dispensable); i++) {
		if (json_dumpb(result, NULL, 0, JSON_COMPACT) <= BROKER_MESSAGE_MAX)
			break;
		json_object_del(incident, dispensable[i]);
	}
	return TAKE_PTR(result);
}

/* The worker: everything that may block on a disk. */
_Noreturn static void work(struct handler *h, const struct broker_client *client, int answerfd)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC), end = h->start_ns + WORKER_NS;
	char name[24], trigger[24];
	struct capture_job job = {.process = &h->process,
		.taskfd = h->taskfd,
		.tid = h->question.tid,
		.notes = &h->notes,
		.what = &client->what,
		.event = client->event,
		.trigger = trigger,
		.signal = h->question.signal,
		.snapshot = "kernel",
		.output_fd = client->output_fd,
		.held_ns = h->start_ns,
		.deadline_ns = h->start_ns + CORE_NS,
		.root_only = h->question.dump_mode == 2};
	json_t *incident = NULL, *result = NULL;
	char *reason = NULL, *text;
	int r;

	/* Its own end, for when its parent is killed; and no read end of the pipe, that only the
	 * parent holds. */
	alarm(end > now ? (unsigned int)((end - now) / NSEC_PER_SEC) + 1 : 1);
	close(STDIN_FILENO);
	open("/dev/null", O_RDONLY | O_CLOEXEC);
	cleanup_close(&h->tie);
	text_filename(
		signals_name(h->question.signal, name, sizeof(name)), trigger, sizeof(trigger));
	r = capture_job_run(&job, &incident, &reason);
	result = r < 0 ? capture_result_error(r, reason) : success(incident);
	text = result ? json_dumps(result, JSON_COMPACT) : NULL;
	_exit(!text || io_write_all(answerfd, text, strlen(text)) < 0);
}

/* Reads the worker's answer to its end, until DEADLINE_NS. */
static json_t *read_result(int fd, uint64_t deadline_ns)
{
	_cleanup_free_ char *text = malloc(BROKER_MESSAGE_MAX);
	struct pollfd answer = {.fd = fd, .events = POLLIN};
	size_t len = 0;

	while (text && len < BROKER_MESSAGE_MAX) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
		ssize_t n;

		if (now >= deadline_ns)
			return NULL;
		if (poll(&answer, 1, (int)((deadline_ns - now) / NSEC_PER_MSEC) + 1) <= 0)
			continue;
		n = read(fd, text + len, BROKER_MESSAGE_MAX - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return text ? json_loadb(text, len, 0, NULL) : NULL;
}

static json_t *run_worker(struct handler *h, const struct broker_client *client)
{
	_cleanup_close_ int read_end = -1, write_end = -1;
	uint64_t deadline = h->start_ns + WORKER_NS;
	json_t *result;
	int ends[2];
	pid_t worker;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return capture_result_failure("handler-failed", "no pipe to the worker");
	read_end = ends[0];
	write_end = ends[1];
	worker = fork();
	if (worker < 0)
		return capture_result_failure("handler-failed", "no worker could be started");
	if (worker == 0) {
		/* Whoever kills the handler means the capture; and a stopped worker would keep its
		 * slot. */
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		work(h, client, write_end);
	}
	cleanup_close(&write_end);
	result = read_result(read_end, deadline);
	if (result)
		return result;
	/* Not waited for: one that hangs on a disk cannot be reaped, and must not keep the dying
	 * process. */
	kill(worker, SIGKILL);
	if (clock_now_ns(CLOCK_MONOTONIC) >= deadline)
		return capture_result_failure(
			"timeout", "the capture took too long, and was given up");
	return capture_result_failure("handler-failed", "the worker died");
}

/* Slot and registers, once for all captures of this process. NULL, or what came in the way. */
static json_t *prepare(struct handler *h, unsigned int slots)
{
	int r = 0;

	if (h->slotfd < 0)
		r = guard_take_slot(
			h->runtimefd, slots ? slots : SLOTS, h->start_ns + SLOT_NS, &h->slotfd);
	if (r == -ETIMEDOUT)
		return capture_result_failure("throttled",
			"other captures ran all the time that this process could wait");
	if (r < 0)
		return capture_result_failure("handler-failed", strerror(-r));
	if (h->notes.n > 0)
		return NULL;
	r = notes_read_pipe(STDIN_FILENO, &h->notes);
	if (r == 0)
		return NULL;
	if (!is_dumping(h->taskfd))
		return capture_result_failure(
			"target-gone", "the process was killed before it could be captured");
	return capture_result_failure("handler-failed", "the kernel's notes could not be read");
}

static void capture(struct handler *h, struct broker_client *client)
{
	_cleanup_json_ json_t *result = NULL;

	if (guard_step_back(client->cgroup) < 0)
		log_debug("msg=\"not in the daemon's cgroup\" pid=%d", h->question.pid);
	result = prepare(h, client->what.host.crash_at_once);
	if (!result)
		result = run_worker(h, client);
	/* The daemon may have ended meanwhile: the capture is there all the same. */
	if (result && broker_client_done(client, result) < 0)
		log_debug("msg=\"the daemon has gone\" pid=%d", h->question.pid);
}

/* Asks those who own the pattern. The number of captures that were wanted. */
static size_t ask_and_capture(struct handler *h)
{
	_cleanup_registry_owners_ struct registry_owners owners = {};
	_cleanup_free_ struct broker_client *clients = NULL;
	size_t wanted = 0;

	if (registry_owners(h->runtimefd, &owners) < 0 || owners.n == 0)
		return 0;
	clients = calloc(owners.n, sizeof(*clients));
	if (!clients)
		return 0;
	broker_client_ask(&owners, &h->question, h->start_ns + ANSWER_NS, clients);
	for (size_t i = 0; i < owners.n; i++) {
		if (clients[i].answered && clients[i].decision.capture) {
			wanted++;
			capture(h, &clients[i]);
		}
		broker_client_free(&clients[i]);
	}
	return wanted;
}

static int pass_on(struct handler *h)
{
	umask(h->umask);
	return handler_pass_on(&(struct handler_passthrough){.runtimefd = h->runtimefd,
		.process = &h->process,
		.taskfd = h->taskfd,
		.question = &h->question,
		.cpu = h->cpu,
		.hostname = h->hostname,
		.tie = &h->tie});
}

int cmd_core_handler(int argc, char **argv)
{
	_cleanup_handler_ struct handler h = {.start_ns = clock_now_ns(CLOCK_MONOTONIC),
		.tie = -1,
		.runtimefd = -1,
		.slotfd = -1,
		.process = PROCESS_NONE,
		.taskfd = -1};
	int r;

	open_standard();
	h.umask = umask(077);
	prctl(PR_SET_DUMPABLE, 0);
	r = parse(argc, argv, &h);
	if (r < 0) {
		log_error("msg=\"core-handler is started by the kernel only\" argc=%d", argc);
		return EXIT_USAGE;
	}
	r = guard_start(h.start_ns + HANDLER_NS, &h.tie);
	if (r == 0)
		r = runtime_open(RUNTIME_DIRECTORY, 0, &h.runtimefd);
	if (r == 0)
		r = open_target(&h);
	if (r == 0 && (is_own_process(&h) || ask_and_capture(&h) == 0))
		r = pass_on(&h);
	if (r < 0)
		log_error("msg=\"a crash was not handled\" pid=%d error=\"%s\"", h.question.pid,
			strerror(-r));
	return r < 0 ? EXIT_FAILED : EXIT_CAPTURED;
}
