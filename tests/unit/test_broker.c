/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/broker.h"
#include "capture/broker_client.h"
#include "capture/broker_wire.h"
#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "store/tree.h"
#include "target/process.h"

static int runtimefd = -1;
static struct broker *broker;
static struct registry_owner owner;
static const struct registry_owners OWNERS = {.v = &owner, .n = 1};

static const struct broker_question QUESTION = {
	.pid = 100,
	.tid = 101,
	.signal = 11,
	.dump_mode = 1,
	.core_limit = UINT64_MAX,
	.start_ticks = 1234567890123,
	.uid = 4294967294,
	.comm = "evil\n\"x",
};

static void enter_scratch(void)
{
	char dir[] = "/tmp/coretrap-broker-XXXXXX", name[RUNTIME_NAME_MAX];

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
	cr_assert_eq(runtime_open("run", 1, &runtimefd), 0);
	cr_assert_eq(broker_open_at(runtimefd, getuid(), &broker), 0);
	cr_assert_eq(runtime_own_name(name), 0);
	snprintf(owner.socket, sizeof(owner.socket), "%s/run/%s.sock", dir, name);
}

static void leave_scratch(void)
{
	_cleanup_free_ char *dir = get_current_dir_name();
	_cleanup_close_ int fd = open(".", O_RDONLY | O_DIRECTORY);

	broker_close(&broker);
	cr_expect_neq(access(owner.socket, F_OK), 0);
	tree_clear(fd);
	rmdir(dir);
}

TestSuite(broker, .init = enter_scratch, .fini = leave_scratch);

/* The next message, for which the daemon's loop would sleep. */
static int next(struct broker_message *m)
{
	for (int i = 0; i < 100; i++) {
		struct pollfd ready = {.fd = broker_fd(broker), .events = POLLIN};
		int r = broker_receive(broker, m);

		if (r != 0)
			return r;
		poll(&ready, 1, 50);
	}
	return 0;
}

/* A handler that asks; exits with 0 if what it was told is what the test wants. */
static pid_t handler(int (*then)(struct broker_client *c))
{
	pid_t child = fork();

	if (child == 0) {
		struct broker_client c;

		broker_client_ask(
			&OWNERS, &QUESTION, clock_now_ns(CLOCK_MONOTONIC) + 5 * NSEC_PER_SEC, &c);
		_exit(then(&c));
	}
	return child;
}

static int status_of(pid_t child)
{
	int status = -1;

	waitpid(child, &status, 0);
	return status;
}

static int captures(struct broker_client *c)
{
	_cleanup_json_ json_t *result = json_pack("{s:b}", "captured", 1);
	struct stat st;

	if (!c->answered || !c->decision.capture || strcmp(c->decision.rule, "r\x01") != 0)
		return 1;
	if (c->what.kind != CORE_HEAP || c->what.form != OUTPUT_FILE ||
		!c->what.ignore_core_limit || strcmp(c->what.output, "/x") != 0 || c->what.comment)
		return 2;
	if (fstat(c->output_fd, &st) < 0 || !S_ISDIR(st.st_mode))
		return 3;
	if (json_get_int(c->event, "n", 0) != 7)
		return 4;
	return broker_client_done(c, result) < 0 ? 5 : 0;
}

Test(broker, asked_answered_done)
{
	const struct capture_options what = {
		.kind = CORE_HEAP, .form = OUTPUT_FILE, .output = "/x", .ignore_core_limit = true};
	const struct decision yes = {.capture = true, .rule = "r\x01", .what = &what};
	_cleanup_json_ json_t *event = json_pack("{s:i}", "n", 7);
	_cleanup_broker_message_ struct broker_message ask = {}, done = {};
	pid_t child = handler(captures);

	cr_assert_eq(next(&ask), 1);
	cr_expect_eq(ask.kind, BROKER_ASK);
	cr_expect_eq(ask.question.pid, 100);
	cr_expect_eq(ask.question.tid, 101);
	cr_expect_eq(ask.question.uid, 4294967294);
	cr_expect_eq(ask.question.core_limit, UINT64_MAX);
	cr_expect_eq(ask.question.start_ticks, 1234567890123);
	cr_expect_str_eq(ask.question.comm, "evil\n\"x");
	cr_assert_eq(broker_answer(broker, ask.conversation, &yes, event, runtimefd), 0);
	cr_expect_eq(broker_answer(broker, ask.conversation, &yes, event, runtimefd), -ENOENT);
	cr_assert_eq(next(&done), 1);
	cr_expect_eq(done.kind, BROKER_DONE);
	cr_expect_eq(done.conversation, ask.conversation);
	cr_expect_eq(done.question.pid, 100);
	cr_expect(json_is_true(json_object_get(done.result, "captured")));
	cr_expect_eq(status_of(child), 0);
	cr_expect_eq(broker_receive(broker, &done), 0);
}

static int is_refused(struct broker_client *c)
{
	return !c->answered || c->decision.capture || c->output_fd >= 0 ||
	       strcmp(c->decision.skip_reason, "too-soon") != 0;
}

Test(broker, a_refusal_ends_it)
{
	const struct decision no = {.skip_reason = "too-soon"};
	_cleanup_broker_message_ struct broker_message ask = {}, more = {};
	pid_t child = handler(is_refused);

	cr_assert_eq(next(&ask), 1);
	cr_assert_eq(broker_answer(broker, ask.conversation, &no, NULL, -1), 0);
	cr_expect_eq(status_of(child), 0);
	cr_expect_eq(broker_receive(broker, &more), 0);
}

static int dies(struct broker_client *c)
{
	return !c->answered;
}

Test(broker, a_handler_that_dies_is_gone)
{
	const struct capture_options what = {.kind = CORE_FULL};
	const struct decision yes = {.capture = true, .what = &what};
	_cleanup_broker_message_ struct broker_message ask = {}, gone = {};
	pid_t child = handler(dies);

	cr_assert_eq(next(&ask), 1);
	cr_assert_eq(broker_answer(broker, ask.conversation, &yes, NULL, -1), 0);
	cr_expect_eq(status_of(child), 0);
	cr_assert_eq(next(&gone), 1);
	cr_expect_eq(gone.kind, BROKER_GONE);
	cr_expect_eq(gone.conversation, ask.conversation);
	cr_expect_eq(broker_answer(broker, ask.conversation, &yes, NULL, -1), -ENOENT);
}

Test(broker, a_killed_handler_cannot_be_answered)
{
	const struct decision no = {};
	_cleanup_broker_message_ struct broker_message ask = {};
	pid_t child = handler(dies);

	cr_assert_eq(next(&ask), 1);
	kill(child, SIGKILL);
	status_of(child);
	cr_expect_lt(broker_answer(broker, ask.conversation, &no, NULL, -1), 0);
}

Test(broker, a_daemon_that_does_not_answer_costs_the_deadline)
{
	uint64_t begin = clock_now_ns(CLOCK_MONOTONIC);
	struct broker_client c;

	broker_client_ask(&OWNERS, &QUESTION, begin + 200 * NSEC_PER_MSEC, &c);
	cr_expect_not(c.answered);
	cr_expect_lt(clock_now_ns(CLOCK_MONOTONIC) - begin, 2 * NSEC_PER_SEC);
	broker_client_free(&c);
}

Test(broker, a_daemon_that_is_gone_costs_nothing)
{
	uint64_t begin = clock_now_ns(CLOCK_MONOTONIC);
	struct broker_client c;

	unlink(owner.socket);
	broker_client_ask(&OWNERS, &QUESTION, begin + 5 * NSEC_PER_SEC, &c);
	cr_expect_not(c.answered);
	cr_expect_lt(clock_now_ns(CLOCK_MONOTONIC) - begin, NSEC_PER_SEC);
	broker_client_free(&c);
}

/* As a process that was killed leaves it; with LISTENS somebody is behind it. */
static int leave_socket(const char *name, bool listens)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "run/%s", name);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s", name);
	if (listens)
		cr_assert_eq(listen(fd, 1), 0);
	return fd;
}

static bool is_there(const char *name)
{
	return faccessat(runtimefd, name, F_OK, 0) == 0;
}

Test(broker, sockets_of_the_dead_go_and_no_others)
{
	_cleanup_process_ struct process process = PROCESS_NONE;
	char reused[64], gone[64], elsewhere[64], file[64], other[64], starting[64];
	_cleanup_close_ int listening = -1, bound = -1;
	pid_t dead = fork(), alive;

	if (dead == 0)
		_exit(0);
	status_of(dead);
	alive = fork();
	if (alive == 0)
		pause();
	broker_close(&broker);
	cr_assert_eq(process_open(alive, &process), 0);
	snprintf(starting, sizeof(starting), "%d-%llu.sock", alive,
		(unsigned long long)process.start_ticks);
	snprintf(reused, sizeof(reused), "%d-1.sock", alive); /* another one had that id */
	snprintf(gone, sizeof(gone), "%d-1.sock", dead);
	snprintf(elsewhere, sizeof(elsewhere), "%d-2.sock", dead);
	snprintf(file, sizeof(file), "%d-3.sock", dead);
	snprintf(other, sizeof(other), "%d-4.sock.old", dead);
	close(leave_socket(reused, false));
	close(leave_socket(gone, false));
	close(leave_socket(other, false));
	bound = leave_socket(starting, false);	   /* about to listen */
	listening = leave_socket(elsewhere, true); /* in another PID namespace */
	cr_assert_eq(runtime_write(runtimefd, file, "", 0), 0);
	cr_assert_eq(broker_open_at(runtimefd, getuid(), &broker), 0);
	cr_expect_not(is_there(reused));
	cr_expect_not(is_there(gone));
	cr_expect(is_there(starting));
	cr_expect(is_there(elsewhere));
	cr_expect(is_there(file));
	cr_expect(is_there(other));
	kill(alive, SIGKILL);
	status_of(alive);
}

static int connect_raw(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, owner.socket);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

Test(broker, nonsense_is_hung_up_on)
{
	static const char *const nonsense[] = {"", "[]", "{", "{\"pid\":0,\"tid\":1,\"signal\":11}",
		"{\"pid\":1,\"tid\":1,\"signal\":65}", "{\"pid\":\"1\"}"};
	_cleanup_broker_message_ struct broker_message m = {};

	for (size_t i = 0; i < ARRAY_SIZE(nonsense); i++) {
		_cleanup_close_ int fd = connect_raw();
		char c;

		cr_assert_geq(send(fd, nonsense[i], strlen(nonsense[i]), 0), 0);
		cr_expect_eq(broker_receive(broker, &m), 0);
		cr_expect_eq(recv(fd, &c, 1, 0), 0, "%s", nonsense[i]);
	}
}

Test(broker, an_event_that_is_too_large_can_be_tried_smaller)
{
	const struct decision no = {};
	_cleanup_json_ json_t *event = json_array();
	_cleanup_broker_message_ struct broker_message ask = {};
	_cleanup_json_ json_t *question = wire_question(&QUESTION);
	_cleanup_close_ int fd = connect_raw();

	for (int i = 0; i < BROKER_MESSAGE_MAX; i++)
		json_array_append_new(event, json_integer(i));
	cr_assert_eq(wire_send(fd, question, -1), 0);
	cr_assert_eq(next(&ask), 1);
	cr_expect_eq(broker_answer(broker, ask.conversation, &no, event, -1), -EMSGSIZE);
	cr_expect_eq(broker_answer(broker, ask.conversation, &no, NULL, -1), 0);
}
