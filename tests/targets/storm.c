/* SPDX-License-Identifier: MIT */
/* storm row N | storm once N: N children crash, one after the other or all at the same time.
 * Prints how many died of SIGSEGV. */
#include <signal.h>
#include <sys/wait.h>

#include "target.h"

static noinline void crashes_in_storm(void)
{
	*(volatile int *)0 = 1;
	__asm__ volatile("");
}

static int reap(void)
{
	int status;

	return wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

int main(int argc, char **argv)
{
	int once = argc > 1 && strcmp(argv[1], "once") == 0, n = argc > 2 ? atoi(argv[2]) : 0,
	    died = 0;
	int go[2];
	char byte;

	if (pipe(go))
		err(1, "pipe");
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0) {
			close(go[1]);
			if (once && read(go[0], &byte, 1) < 0)
				_exit(1);
			crashes_in_storm();
		}
		if (!once)
			died += reap();
	}
	close(go[1]);
	for (int i = 0; once && i < n; i++)
		died += reap();
	printf("died %d\n", died);
	return 0;
}
