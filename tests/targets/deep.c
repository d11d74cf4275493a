/* SPDX-License-Identifier: MIT */
/* Built with -O2 -fomit-frame-pointer, with symbols and without debug information: a chain of
 * functions that crashes at one of two places. Its frames can be found through .eh_frame only. */
#include "target.h"

static volatile int sink;

noinline int crash_site_one(volatile int *p, int n)
{
	int local[16];

	for (int i = 0; i < 16; i++)
		local[i] = n + i;
	*p = n;
	sink = local[n & 15];
	return local[(n + 1) & 15];
}

noinline int crash_site_two(volatile int *p, int n)
{
	char local[200];

	memset(local, n, sizeof(local));
	sink = local[n & 127];
	return *p + local[(n + 3) & 127];
}

noinline int middle_frame(int site, int n)
{
	int r = site == 1 ? crash_site_one((int *)8, n) : crash_site_two((int *)16, n);

	return r * 3 + sink;
}

noinline int outer_frame(int site, int n)
{
	char local[500];

	memset(local, site, sizeof(local));
	sink = local[n & 255];
	return middle_frame(site, n + local[3]) + local[5];
}

int main(int argc, char **argv)
{
	target_ready(&argc, &argv);
	return outer_frame(argc > 1 ? atoi(argv[1]) : 1, argc) + sink;
}
