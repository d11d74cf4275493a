/* SPDX-License-Identifier: MIT */
/* sampler PROCESSES PASSES: the processor time that one reading of so many idle, watched processes
 * takes, by the sampler and by /proc/PID/stat and statm, once a second each, in turn. Prints
 * microseconds: "sampler MEDIAN LOWEST HIGHEST", "proc MEDIAN LOWEST HIGHEST". */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "probe/sampler.h"
#include "target/stat.h"

struct child {
	pid_t pid;
	uint64_t start_ticks;
};

static struct stat_line read_stat(pid_t pid)
{
	struct stat_line line = {0};
	char path[64], text[1024];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, sizeof(text) - 1);
	if (n <= 0 || stat_parse(text, (size_t)n, &line) < 0)
		err(1, "%s", path);
	close(fd);
	return line;
}

static void read_statm(pid_t pid)
{
	char path[64], text[256];
	unsigned long size, resident;
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%lu %lu", &size, &resident) != 2)
		err(1, "%s", path);
	close(fd);
}

static struct child *make_children(struct sampler *s, size_t n)
{
	struct child *children = calloc(n, sizeof(*children));

	if (!children)
		err(1, "calloc");
	for (size_t i = 0; i < n; i++) {
		children[i].pid = fork();
		if (children[i].pid < 0)
			err(1, "fork");
		if (children[i].pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		children[i].start_ticks = read_stat(children[i].pid).start_ticks;
		if (sampler_add(s, children[i].pid, children[i].start_ticks) < 0)
			errx(1, "sampler_add");
	}
	return children;
}

/* Processor time of this process, in the kernel too: the iterator runs in read(2). */
static uint64_t used(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t read_by_sampler(struct sampler *s, size_t n)
{
	const struct sample *samples;
	const uint64_t before = used();
	size_t found;
	int r = sampler_read(s, &samples, &found);

	if (r < 0 || found != n)
		errx(1, "sampler_read: %s, %zu of %zu processes", strerror(-r), found, n);
	return used() - before;
}

static uint64_t read_by_proc(const struct child *children, size_t n)
{
	const uint64_t before = used();

	for (size_t i = 0; i < n; i++) {
		read_stat(children[i].pid);
		read_statm(children[i].pid);
	}
	return used() - before;
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print(const char *name, uint64_t *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), compare);
	printf("%s %.1f %.1f %.1f\n", name, (double)ns[n / 2] / 1e3, (double)ns[0] / 1e3,
		(double)ns[n - 1] / 1e3);
}

int main(int argc, char **argv)
{
	const size_t n = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	const size_t passes = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct sampler *s;
	struct child *children;
	uint64_t *by_sampler, *by_proc;
	int r;

	if (!n || !passes)
		errx(2, "usage: sampler PROCESSES PASSES");
	r = sampler_open(&s);
	if (r < 0)
		errx(1, "sampler_open: %s", strerror(-r));
	children = make_children(s, n);
	by_sampler = calloc(passes, sizeof(*by_sampler));
	by_proc = calloc(passes, sizeof(*by_proc));
	if (!by_sampler || !by_proc)
		err(1, "calloc");
	sleep(1);
	for (size_t i = 0; i < passes; i++) {
		by_sampler[i] = read_by_sampler(s, n);
		usleep(500000);
		by_proc[i] = read_by_proc(children, n);
		usleep(500000);
	}
	print("sampler", by_sampler, passes);
	print("proc", by_proc, passes);
	for (size_t i = 0; i < n; i++)
		kill(children[i].pid, SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
