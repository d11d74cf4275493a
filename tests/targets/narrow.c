/* SPDX-License-Identifier: MIT */
/* A 32-bit program, without the C library, so that a compiler alone is enough to build it. */
static int call(int nr, int a, const void *b, int c)
{
	int result;

	__asm__ volatile("int $0x80" : "=a"(result) : "0"(nr), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}

void _start(void);

void _start(void)
{
	char byte;

	call(4, 1, "ready\n", 6);
	while (call(3, 0, &byte, 1) == 1)
		call(4, 1, "alive 1\n", 8);
	call(1, 0, 0, 0);
}
