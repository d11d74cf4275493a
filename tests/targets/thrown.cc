/* SPDX-License-Identifier: MIT */
/* A function that an exception leaves again and again, from ever other depths of the stack, and one that does return. */
#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <unistd.h>

static volatile int zero;

static void pause_ms(long ms)
{
	timespec ts = {ms / 1000, ms % 1000 * 1000000};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, nullptr);
}

extern "C" __attribute__((noinline)) int fail(int value)
{
	if (!zero)
		throw std::runtime_error("left without a return");
	return value;
}

static __attribute__((noinline)) int deeper(int n)
{
	volatile char room[64] = {static_cast<char>(n)};

	return n ? deeper(n - 1) + room[0] : fail(n);
}

int main()
{
	printf("ready %d\n", getpid());
	fflush(stdout);
	for (int i = 0;; i = (i + 7) % 20) {
		try {
			deeper(i);
		} catch (const std::exception &) {
		}
		pause_ms(i == 0 ? 400 : 2);
	}
}
