/* SPDX-License-Identifier: MIT */
#include "cli/command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "target/stat.h"

#define TERM_GRACE_NS (2 * NSEC_PER_SEC) /* between SIGTERM and SIGKILL */
#define REAP_NS	      (2 * NSEC_PER_SEC) /* for what was killed to go away */

struct running {
	const struct command *command;
	struct command_result *result;
	pid_t pid; /* also of its session and process group; not reaped while it is one */
	int pidfd, outputfd;
	uint64_t start_ns, term_ns, kill_ns; /* CLOCK_MONOTONIC; 0: not yet */
};

/* ---- the start ---- */

/* A file, so that nobody waits for whoever does not read it. */
static int make_input(const struct command *c)
{
	_cleanup_close_ int fd = memfd_create("coretrap-incident", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_all(fd, c->input, c->input_size);
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) <
			0)
		return -errno;
	return TAKE_FD(fd);
}

/* What was blocked or ignored here must not be so there. */
static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void become(const struct command *c, int input, int output, int complaint)
{
	int keep[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, complaint}, error;

	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
		dup2(output, STDERR_FILENO) >= 0 && io_close_others(keep, ARRAY_SIZE(keep)) == 0 &&
		chdir("/") == 0) {
		umask(077);
		reset_signals();
		execve(c->argv[0], c->argv, c->environment);
	}
	error = errno;
	io_write_all(complaint, &error, sizeof(error));
	_exit(127);
}

static int open_pipe(int *read_end, int *write_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*read_end = ends[0];
	*write_end = ends[1];
	return 0;
}

static int start(struct running *p)
{
	_cleanup_close_ int input = make_input(p->command), output = -1, complained = -1,
			    complaint = -1;
	int r = input < 0 ? input : open_pipe(&p->outputfd, &output), error = 0;

	if (r == 0)
		r = open_pipe(&complained, &complaint);
	if (r == 0 && fcntl(p->outputfd, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	if (r < 0)
		return r;
	p->pid = fork();
	if (p->pid == 0)
		become(p->command, input, output, complaint);
	if (p->pid < 0)
		return -errno;
	cleanup_close(&complaint);
	/* Ends with the exec, which closes the other end. */
	if (io_read_exact(complained, &error, sizeof(error)) == 0) {
		waitpid(p->pid, NULL, 0);
		return error ? -error : -EIO;
	}
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pidfd >= 0)
		return 0;
	r = -errno;
	kill(-p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	return r;
}

/* ---- while it runs ---- */

/* Whether there is more to come. */
static bool read_output(struct running *p)
{
	struct command_result *result = p->result;
	char rest[16384];

	/* A flood must not keep us from the clock. */
	for (int i = 0; i < 16; i++) {
		size_t room = COMMAND_OUTPUT_MAX - result->output_size;
		ssize_t n = read(p->outputfd, rest, sizeof(rest));

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (n < 0)
			return true;
		room = room < (size_t)n ? room : (size_t)n;
		memcpy(result->output + result->output_size, rest, room);
		result->output_size += room;
		result->output_bytes += (uint64_t)n;
	}
	return true;
}

static bool has_ended(const struct running *p)
{
	siginfo_t info = {};

	/* It stays a zombie, so that the number of its group remains its own. */
	return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
	       info.si_pid == p->pid;
}

static void kill_all(struct running *p, uint64_t now)
{
	if (!p->kill_ns)
		kill(-p->pid, SIGKILL);
	p->kill_ns = p->kill_ns ? p->kill_ns : now;
}

/* SIGTERM when its time is over, SIGKILL when that did not help. Returns when to look again, 0:
 * never, for even that did not help (it hangs in the kernel). */
static uint64_t hold_to_limit(struct running *p, uint64_t now)
{
	if (!p->term_ns && now - p->start_ns >= p->command->limit_ns) {
		p->result->timed_out = true;
		p->term_ns = now;
		kill(-p->pid, SIGTERM);
	}
	if (p->term_ns && now - p->term_ns >= TERM_GRACE_NS)
		kill_all(p, now);
	if (p->kill_ns)
		return now - p->kill_ns < REAP_NS ? p->kill_ns + REAP_NS : 0;
	return p->term_ns ? p->term_ns + TERM_GRACE_NS : p->start_ns + p->command->limit_ns;
}

static int milliseconds(uint64_t ns)
{
	return ns < 60 * NSEC_PER_SEC ? (int)(ns / NSEC_PER_MSEC) + 1 : 60000;
}

static void follow(struct running *p)
{
	struct pollfd waits[] = {{.fd = p->pidfd, .events = POLLIN},
		{.fd = p->outputfd, .events = POLLIN},
		{.fd = p->command->stopfd, .events = POLLIN}};

	while (!has_ended(p)) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC), next = hold_to_limit(p, now);

		if (!next)
			return;
		if (poll(waits, ARRAY_SIZE(waits), milliseconds(next - now)) < 0)
			continue;
		if (waits[1].revents && !read_output(p))
			waits[1].fd = -1; /* it closed its output, and runs on */
		if (waits[2].revents) {
			waits[2].fd = -1;
			p->result->stopped = true;
			kill_all(p, now);
		}
	}
}

/* ---- the end ---- */

/* Children of ours are what it left behind: nobody else has them, and until they are reaped their
 * numbers are theirs. */
static void kill_children(void)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		_cleanup_close_ int dir = -1;
		struct stat_line stat;

		if (pid <= 0)
			continue;
		dir = openat(dirfd(proc), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0 || stat_read(dir, &stat) < 0 || stat.ppid != getpid() ||
			stat.state == 'Z' || stat.state == 'X')
			continue;
		kill(pid, SIGKILL);
	}
}

/* What is killed hands its own children to us, so until there are none. */
static void end_rest(struct running *p)
{
	const struct timespec nap = {.tv_nsec = 2 * NSEC_PER_MSEC};
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + REAP_NS;
	pid_t pid;
	int status;

	kill(-p->pid, SIGKILL);
	for (;;) {
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			if (pid == p->pid)
				p->result->status = status;
			else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
				p->result->killed++;
		}
		if (pid < 0 && errno == ECHILD)
			return;
		if (clock_now_ns(CLOCK_MONOTONIC) >= end)
			break;
		kill_children();
		nanosleep(&nap, NULL);
	}
	p->result->left = true;
}

int command_run(const struct command *c, struct command_result *out)
{
	struct command_result result = {.output = malloc(COMMAND_OUTPUT_MAX)};
	struct running p = {.command = c, .result = &result, .pidfd = -1, .outputfd = -1};
	int r = result.output ? 0 : -ENOMEM;

	if (r == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0)
		r = start(&p);
	p.start_ns = clock_now_ns(CLOCK_MONOTONIC);
	if (r == 0) {
		follow(&p);
		result.duration_ns = clock_now_ns(CLOCK_MONOTONIC) - p.start_ns;
		end_rest(&p);
		read_output(&p);
	}
	cleanup_close(&p.pidfd);
	cleanup_close(&p.outputfd);
	if (r < 0)
		command_result_free(&result);
	*out = result;
	return r;
}

void command_result_free(struct command_result *r)
{
	free(r->output);
	*r = (struct command_result){};
}
