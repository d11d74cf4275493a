/* SPDX-License-Identifier: MIT */
#include "capture/passthrough.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/registry.h"
#include "lib/cleanup.h"

/* Where the kernel puts a pidfd for a program whose pattern has %F (COREDUMP_PIDFD_NUMBER). */
#define PIDFD_NUMBER 3

/* A name that the process chose, as cn_esc_printf() makes it safe for a path. */
static void put_escaped(FILE *out, const char *name)
{
	if (!*name)
		fputc('!', out);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		fputc('!', out);
		name++;
	}
	for (; *name; name++)
		fputc(*name == '/' ? '!' : *name, out);
}

static void put_exe(FILE *out, const struct passthrough_values *v, int last_part)
{
	const char *exe = v->exe;
	char unknown[64];

	if (!exe) {
		snprintf(unknown, sizeof(unknown), "%s (path unknown)", v->comm);
		exe = unknown;
	} else if (last_part && strrchr(exe, '/')) {
		exe = strrchr(exe, '/') + 1;
	}
	put_escaped(out, exe);
}

static void put_specifier(FILE *out, char c, const struct passthrough_values *v)
{
	switch (c) {
	case '%':
		fputc('%', out);
		break;
	case 'p':
		fprintf(out, "%d", v->ns_pid);
		break;
	case 'P':
		fprintf(out, "%d", v->pid);
		break;
	case 'i':
		fprintf(out, "%d", v->ns_tid);
		break;
	case 'I':
		fprintf(out, "%d", v->tid);
		break;
	case 'u':
		fprintf(out, "%u", v->uid);
		break;
	case 'g':
		fprintf(out, "%u", v->gid);
		break;
	case 'd':
		fprintf(out, "%d", v->dump_mode);
		break;
	case 's':
		fprintf(out, "%d", v->signal);
		break;
	case 't':
		fprintf(out, "%" PRId64, v->time);
		break;
	case 'c':
		fprintf(out, "%" PRIu64, v->core_limit);
		break;
	case 'C':
		fputs(v->cpu, out);
		break;
	case 'h':
		put_escaped(out, v->hostname);
		break;
	case 'e':
		put_escaped(out, v->comm);
		break;
	case 'f':
		put_exe(out, v, 1);
		break;
	case 'E':
		put_exe(out, v, 0);
		break;
	case 'F':
		if (v->pidfd >= 0)
			fprintf(out, "%d", v->pidfd);
		break;
	default:
		break;
	}
}

/* The LEN bytes at TEXT. */
static int expand(
	const char *text, size_t len, const struct passthrough_values *v, char **out, int *pid_used)
{
	_cleanup_free_ char *expanded = NULL;
	size_t size;
	FILE *stream = open_memstream(&expanded, &size);
	int failed;

	if (!stream)
		return -ENOMEM;
	if (pid_used)
		*pid_used = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '%') {
			fputc(text[i], stream);
			continue;
		}
		if (++i == len)
			break;
		if (pid_used && text[i] == 'p')
			*pid_used = 1;
		put_specifier(stream, text[i], v);
	}
	failed = ferror(stream);
	if (fclose(stream) != 0 || failed)
		return -ENOMEM;
	*out = TAKE_PTR(expanded);
	return 0;
}

int passthrough_expand(
	const char *word, const struct passthrough_values *v, char **out, int *pid_used)
{
	return expand(word, strlen(word), v, out, pid_used);
}

void passthrough_free(char ***argv)
{
	for (char **a = *argv; a && *a; a++)
		free(*a);
	free(*argv);
	*argv = NULL;
}
#define _cleanup_argv_ __attribute__((cleanup(passthrough_free)))

int passthrough_command(const char *command, const struct passthrough_values *v, char ***out)
{
	/* Words are separated by blanks, so there cannot be more of them. */
	_cleanup_argv_ char **argv = calloc(strlen(command) / 2 + 2, sizeof(*argv));
	size_t n = 0;

	if (!argv)
		return -ENOMEM;
	for (;;) {
		size_t len = 0;
		int r;

		while (isspace((unsigned char)*command))
			command++;
		while (command[len] && !isspace((unsigned char)command[len]))
			len++;
		if (len == 0)
			break;
		r = expand(command, len, v, &argv[n], NULL);
		if (r < 0)
			return r;
		n++;
		command += len;
	}
	if (n == 0)
		return -EINVAL;
	*out = TAKE_PTR(argv);
	return 0;
}

/* Becomes the program. Descriptors other than 0 are closed on exec, as nothing else is open in what
 * the kernel starts. */
static int serve_pipe(const struct passthrough *p, const char *command, char **reason)
{
	_cleanup_argv_ char **argv = NULL;
	struct passthrough_values values = p->values;
	int r;

	if (strstr(command, "%F") && p->pidfd >= 0)
		values.pidfd = PIDFD_NUMBER;
	r = passthrough_command(command, &values, &argv);
	if (r == 0 && p->corefd != STDIN_FILENO && dup2(p->corefd, STDIN_FILENO) < 0)
		r = -errno;
	if (r == 0 && values.pidfd >= 0) {
		/* dup2() onto itself would leave the flag that closes it. */
		if (p->pidfd == PIDFD_NUMBER && fcntl(p->pidfd, F_SETFD, 0) < 0)
			r = -errno;
		else if (dup2(p->pidfd, PIDFD_NUMBER) < 0)
			r = -errno;
	}
	if (r == 0) {
		execve(argv[0], argv, environ);
		r = -errno;
	}
	if (asprintf(reason, "the program of the pattern could not be started: %s", strerror(-r)) <
		0)
		*reason = NULL;
	return r;
}

int passthrough_serve(const struct passthrough *p, const char *pattern, char **reason)
{
	if (registry_is_ours(pattern)) {
		*reason = strdup("the pattern that was there before is coretrap's own");
		return -ELOOP;
	}
	if (pattern[0] == '|')
		return serve_pipe(p, pattern + 1, reason);
	if (pattern[0] == '@') {
		*reason = strdup("the pattern that was there before is a socket, which only the "
				 "kernel can serve");
		return 0;
	}
	return passthrough_file(p, pattern, reason);
}
